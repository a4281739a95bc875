"""How the commands reach the daemon: HTTP with JSON over its admin socket. Standard library only.

The socket is the one named by `--socket`, or that of the configuration which the daemon would take, or the system's.
What goes wrong is said in one line, with the exit status that tells it apart.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

import click

from multid.config.find import admin_socket, find_config
from multid.config.problems import ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOT_RUNNING = 3
WRONG_USAGE = 2
_EXITS = {400: WRONG_USAGE, 403: os.EX_NOPERM}
"""The exit status that an answer of the daemon means, where it is not 1."""
SYSTEM_SOCKET = Path("/run/multid/admin.sock")


def with_daemon(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options `--socket` and `--config`, and the `Daemon` they name as `daemon`."""

    @click.option("--socket", "path", metavar="PATH", help="The admin socket of the daemon.")
    @click.option("-c", "--config", metavar="FILE", help="The configuration that names the socket.")
    def run(path: str | None, config: str | None, **arguments: Any) -> Any:
        return command(daemon=Daemon(find_socket(path, config)), **arguments)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__click_params__ = [*run.__click_params__, *getattr(command, "__click_params__", [])]  # type: ignore[attr-defined]
    return run


def find_socket(path: str | None, config: str | None) -> Path:
    """Return the path of the admin socket; end the command where the configuration cannot be read: 77 or 78."""
    if path:
        return Path(path)
    try:
        file = find_config(config, os.environ, Path())
    except ConfigErrors:
        return SYSTEM_SOCKET
    try:
        return admin_socket(file)
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        sys.exit(os.EX_NOPERM if isinstance(errors.__context__, PermissionError) else os.EX_CONFIG)


class Daemon:
    """The running daemon; every method ends the command where it cannot be asked or refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, *path: str, **query: str) -> Any:
        """Return the answer to a question."""
        return self._asked("GET", path, query)

    def post(self, *path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None) -> Any:
        """Return the answer to a command."""
        return self._asked("POST", path, query or {}, body)

    def lines(self, *path: str, **query: str) -> Iterator[Any]:
        """Return the JSON objects of an answer without an end, as they come."""
        connection, response = self._sent("GET", path, query, None)
        self._check(response)
        with connection.sock:  # what is silent for long has died; signs of life come more often
            for line in response:
                if line.strip():
                    yield json.loads(line)

    def _asked(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> Any:
        connection, response = self._sent(method, path, query, body)
        try:
            return self._check(response)
        except (OSError, http.client.HTTPException) as error:
            fail(f"the daemon at {self._path} broke off: {_why(error)}", os.EX_UNAVAILABLE)
        finally:
            connection.close()

    def _sent(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _Connection(self._path)
        target = "/" + "/".join(quote(part, safe="") for part in path) + (f"?{urlencode(query)}" if query else "")
        try:
            with ExitStack() as stack:
                stack.callback(connection.close)
                connection.request(method, target, None if body is None else json.dumps(body))
                response = connection.getresponse()
                stack.pop_all()
            return connection, response
        except (FileNotFoundError, ConnectionRefusedError):
            fail(f"no daemon runs at {self._path}", NOT_RUNNING)
        except PermissionError:
            fail(f"you may not use {self._path}", os.EX_NOPERM)
        except (OSError, http.client.HTTPException) as error:
            fail(f"the daemon at {self._path} does not answer: {_why(error)}", os.EX_UNAVAILABLE)

    def _check(self, response: http.client.HTTPResponse) -> Any:
        """Return what a good answer holds, also one that refuses a reload; end the command at any other."""
        if response.status == 200 and response.headers.get_content_type() == "application/x-ndjson":
            return None
        answer = json.loads(response.read() or b"{}")
        if response.status not in {200, 422}:
            fail(answer.get("error", response.reason), _EXITS.get(response.status, 1))
        return answer


class _Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("multid", timeout=60)
        self._path = path

    def connect(self) -> None:
        """HTTPConnection API."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def fail(message: str, status: int) -> NoReturn:
    """End the command with one line on stderr."""
    click.echo(f"multid: {message}", err=True)
    sys.exit(status)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def service_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a service; with no daemon there is nothing to offer."""
    try:
        with redirect_stderr(StringIO()):
            path = find_socket(ctx.params.get("path"), ctx.params.get("config"))
            names = [service["name"] for service in Daemon(path).get("status.json")["services"]]
    except SystemExit:
        return []
    return [name for name in names if name.startswith(incomplete)]
