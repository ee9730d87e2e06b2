"""One fixture: a family of adapters with an empty store, embedded and on two local AWS."""

from collections.abc import Iterator

import pytest

from contact_activity.local_cloud.emulator import Emulator, local_client
from tests.support.families import AwsFamily, Clients, EmbeddedFamily, Family, MotoFamily
from tests.support.moto_server import moto_server


@pytest.fixture(scope="session")
def emulator_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with Emulator(tmp_path_factory.mktemp("aws")) as emulator:
        yield Clients(emulator.client)


@pytest.fixture(scope="session")
def moto_aws() -> Iterator[Clients]:
    with moto_server() as address:
        yield Clients(lambda service: local_client(service, address))


# Neither AWS takes `make test` more than seconds, so both stand in it: a mistake shows at once on both.
@pytest.fixture(params=["embedded", "emulator", "moto"])
def family(request: pytest.FixtureRequest) -> Iterator[Family]:
    family = _family(request)
    yield family
    family.close()


def _family(request: pytest.FixtureRequest) -> Family:
    if request.param == "embedded":
        return EmbeddedFamily()
    if request.param == "moto":
        return MotoFamily(request.getfixturevalue("moto_aws"))
    return AwsFamily(request.getfixturevalue("emulator_aws"))
