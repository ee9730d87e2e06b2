"""One fixture: a family of adapters with an empty store, embedded and on the local AWS."""

from collections.abc import Iterator

import pytest

from contact_activity.local.emulator import Emulator
from tests.support.families import AwsFamily, Clients, EmbeddedFamily, Family


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with Emulator(tmp_path_factory.mktemp("aws")) as emulator:
        yield Clients(emulator.client)


@pytest.fixture(params=["embedded", "aws"])
def family(request: pytest.FixtureRequest) -> Iterator[Family]:
    family: Family
    if request.param == "embedded":
        family = EmbeddedFamily()
    else:
        family = AwsFamily(request.getfixturevalue("local_aws"))
    yield family
    family.close()
