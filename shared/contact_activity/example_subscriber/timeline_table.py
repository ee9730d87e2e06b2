"""The timelines on DynamoDB: an item an activity, in the order of time within a contact."""

from dataclasses import asdict

from botocore.client import BaseClient

from contact_activity.example_subscriber.timeline import Entry


class DynamoTimeline:
    """The table has the string keys `contact_id` and `time_id`."""

    def __init__(self, client: BaseClient, table: str) -> None:
        self._client = client
        self._table = table

    def add(self, entry: Entry) -> bool:
        """False for one that is there already: the first is kept, however late the second comes."""
        attributes = asdict(entry) | {"time_id": entry.time_id}
        try:
            self._client.put_item(
                TableName=self._table,
                Item={name: {"S": value} for name, value in attributes.items() if value is not None},
                ConditionExpression="attribute_not_exists(time_id)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True
