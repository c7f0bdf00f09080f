"""``explain`` asks a real exporter that has certificates and passwords, and says in one line what is missing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.cli.source import Client, NoAnswerError
from exporter.errors import ConfigError
from exporter.settings_sources import CLIENT_VARIABLES, load
from tests.cli.conftest import lab, stranger
from tests.cli.pseudoterminal import in_terminal
from tests.support.process import ROOT, Exporter, command, run, started
from tests.web.serving import HASH, SECRET, Authority, write_config

USER = "alice"
USERS = f"basic_auth_users: {{{USER}: {HASH}}}\n"
SERVER = "tls_server_config: {cert_file: server.crt, key_file: server.key%s}\n"
CLIENTS = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"


class Secured(NamedTuple):
    """A running exporter and the folder with its web config, certificates and password."""

    exporter: Exporter
    folder: Path

    @property
    def own(self) -> list[str]:
        """The exporter's own options."""
        return [f"--web.listen-address=127.0.0.1:{self.exporter.port}", f"--web.config.file={self.folder / 'web.yml'}"]

    def url(self, scheme: str = "https") -> str:
        return f"{scheme}://127.0.0.1:{self.exporter.port}"

    @property
    def values(self) -> dict[str, str]:
        """What each option of a client has to be."""
        files = {"password-file": "password", "tls.ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
        return {"user": USER, **{name: str(self.folder / file) for name, file in files.items()}}

    def options(self, *names: str) -> list[str]:
        return [f"--{name}={self.values[name]}" for name in names]


def secured(folder: Path, config: str) -> Iterator[Secured]:
    authority = Authority(folder)
    # As certificates in a cluster are: for the Service, not for the address that explain asks.
    authority.issue("server", "throttle-exporter.monitoring.svc")
    authority.issue("client", "sre.example.org")
    (folder / "password").write_text(f"{SECRET}\n")
    (folder / "wrong").write_text("incorrect horse\n")
    web = write_config(folder, config)
    (folder / "lab").mkdir()
    with lab(folder / "lab") as node, started([*node.options, f"--web.config.file={web}"], ready=False) as exporter:
        yield Secured(exporter, folder)


@pytest.fixture(scope="module")
def with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from secured(tmp_path_factory.mktemp("users"), SERVER % "" + USERS)


@pytest.fixture(scope="module")
def with_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from secured(tmp_path_factory.mktemp("clients"), SERVER % CLIENTS + USERS)


def ask(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run("top", "--once", *arguments, **environ)


def told(secured: Secured, *arguments: str) -> str:
    """The one line with which it gives up."""
    result = ask(f"--url={secured.url()}", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert SECRET not in line
    assert "incorrect horse" not in line
    return line


def test_by_the_same_settings_it_speaks_tls(with_users: Secured) -> None:
    # The certificate is for another name and of a CA that the system does not know: it is a loopback address.
    result = ask(*with_users.own, *with_users.options("user", "password-file"))

    assert (result.returncode, result.stderr) == (0, "")
    assert "shop/checkout" in result.stdout


def test_all_of_it_from_the_environment_and_the_server_is_not_disturbed_by_it(with_clients: Secured) -> None:
    environ = {CLIENT_VARIABLES[name]: value for name, value in with_clients.values.items()}
    result = ask(*with_clients.own, **environ)

    assert (result.returncode, result.stderr) == (0, "")
    assert "shop/checkout" in result.stdout
    assert load({}, environ) == load({}, {})
    with pytest.raises(ConfigError, match="did you mean THROTTLE_EXPORTER_CLIENT_PASSWORD_FILE"):
        load({}, {"THROTTLE_EXPORTER_CLIENT_PASSWORD": SECRET})


def test_top_shows_them_at_every_look(with_clients: Secured) -> None:
    options = with_clients.options("user", "password-file", "cert", "key")
    with in_terminal(command("top", f"--url={with_clients.url()}", "--interval=200ms", *options)) as terminal:
        terminal.until(lambda text: "11 containers" in text)
        taken_at = re.compile(r"(\d\d:\d\d:\d\d) UTC  https://127")
        # More than the first look was answered.
        terminal.until(lambda text: len(set(taken_at.findall(text))) > 1)
        terminal.type("q")

        assert terminal.wait() == 0
        assert "refuses" not in terminal.seen


def test_without_the_right_password_or_ca(with_users: Secured, tmp_path: Path) -> None:
    assert told(with_users).endswith("refuses to answer without a password (HTTP 401): --user and --password-file")
    line = told(with_users, f"--user={USER}", f"--password-file={with_users.folder / 'wrong'}")
    assert line.endswith("refuses to answer to this user with this password (HTTP 401)")
    Authority(tmp_path)  # another one, whose name is asked for at a loopback address, too
    line = told(with_users, f"--tls.ca={tmp_path / 'ca.crt'}")
    assert "its certificate is not trusted" in line
    assert line.endswith("--tls.ca names the CA to trust")


def test_a_name_is_verified_in_full(with_users: Secured) -> None:
    # localhost is a name: what it leads to, a resolver says.
    url = f"https://localhost:{with_users.exporter.port}"

    with pytest.raises(NoAnswerError, match=r"certificate is not trusted .*issuer certificate"):
        Client(url).containers()
    with pytest.raises(NoAnswerError, match=r"certificate is not trusted .*not valid for 'localhost'"):
        Client(url, USER, SECRET.encode(), with_users.values["tls.ca"]).containers()


def test_a_client_certificate_with_its_key_in_one_file_or_none(with_clients: Secured, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join((with_clients.folder / name).read_bytes() for name in ("client.crt", "client.key")))
    assert Client(with_clients.url(), USER, SECRET.encode(), cert=str(both)).containers()["containers"]

    line = told(with_clients, *with_clients.options("user", "password-file"))
    assert line.endswith("it may ask for a client certificate: --cert and --key")


def test_a_password_goes_over_tls_or_stays_on_this_machine() -> None:
    with stranger(401) as other:
        with pytest.raises(NoAnswerError, match="to this user with this password"):
            Client(other.url, USER, SECRET.encode()).containers()
        with pytest.raises(NoAnswerError, match="which goes over TLS or to a loopback address only"):
            Client(other.url.replace("127.0.0.1", "localhost"), USER, SECRET.encode()).containers()
        with pytest.raises(NoAnswerError, match=f"there is none: --url {other.url}$"):
            Client(other.url.replace("http", "https")).containers()

    assert [one.headers.get("Authorization") for one in other.requests] == ["Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==", None]
    assert SECRET not in repr(Client(other.url, USER, SECRET.encode()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user=alice"], "--password-file: must be set with --user"),
        (["--password-file=/dev/null"], "--user: must be set with --password-file"),
        (["--user=al:ice", "--password-file=/dev/null"], "--user: must be a name without a colon"),
        (["--user=alice", "--password-file=/dev/null"], "--password-file: must hold a password"),
        (["--user=alice", f"--password-file={SECRET}"], "--password-file: must be a readable file (No such file"),
        (["--key={folder}/client.key"], "--cert: must be set with --key"),
        (["--cert={folder}/client.crt"], "--cert, --key: must be a certificate in PEM and the key that belongs to it"),
        (["--cert={folder}/client.crt", "--key={folder}/server.key"], "--cert, --key: must be a certificate in PEM"),
        (["--tls.ca={folder}/password"], "--tls.ca: must be a file of CA certificates in PEM, not '"),
    ],
)
def test_wrong_credentials_end_it_before_anybody_is_asked(with_users: Secured, arguments: list[str], said: str) -> None:
    line = told(with_users, *(argument.format(folder=with_users.folder) for argument in arguments))

    assert line.startswith(f"throttle-exporter: error: {said}")


@pytest.mark.system
def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(with_users: Secured, tmp_path: Path) -> None:
    key, plain = tmp_path / "encrypted.key", with_users.folder / "client.key"
    encrypt = ["openssl", "pkey", "-in", str(plain), "-aes256", "-passout", "pass:x", "-out", str(key)]
    subprocess.run(encrypt, check=True, capture_output=True)
    assert "not encrypted" in told(with_users, f"--cert={with_users.folder / 'client.crt'}", f"--key={key}")


def test_the_page_names_each_option_with_its_variable() -> None:
    page = (ROOT / "docs" / "explain.md").read_text()

    assert dict(re.findall(r"^\| `--([a-z.-]+)` \| `(THROTTLE_\w+)` \|", page, re.MULTILINE)) == CLIENT_VARIABLES


def test_a_web_config_that_it_may_not_read_costs_only_the_knowledge(with_users: Secured, tmp_path: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config: [")
    result = ask(with_users.own[0], f"--web.config.file={web}", "--for=1s", f"--path.cgroup={tmp_path}/none")

    # It goes on to look by itself, as with every exporter that does not answer.
    assert "speaks TLS only: --url https://127.0.0.1" in result.stderr.splitlines()[0]
