"""The ``throttle-exporter`` program: from the words of a command line to a command's exit code.

Exit codes: a command's own; 2 for an error that the user can fix, one line on standard error; 70 for a defect of this
program (not 1, which ``explain`` uses for findings); 130 after Ctrl-C; 141 when the output's reader is gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from exporter import __version__
from exporter.errors import ConfigError, ExporterError, escape_control, leaves, quoted

# The rest is imported where it is used: --version needs no argparse, --help none of a command's libraries.
if TYPE_CHECKING:
    from exporter.cli import Command
    from exporter.settings import Settings

PROGRAM: Final = "throttle-exporter"
USER_ERROR: Final = 2
DEFECT: Final = 70
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
_ABOUT: Final = (
    "Prometheus exporter for CPU throttling and CPU isolation of Kubernetes\ncontainers, read from cgroup v1 and v2."
)
_EPILOG: Final = """\
Options may stand before or after the command. Each is also an environment
variable, THROTTLE_EXPORTER_SAMPLE_INTERVAL for --sample.interval, and a key of
--config.file. A flag wins over the environment, the environment over the file.
Durations are written as in Prometheus: 500ms, 1s, 1m30s.
"""


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    commands: Sequence[Command] | None = None,
) -> int:
    """Run one command and return the exit code; arguments, environment and commands default to the real ones."""
    try:
        code = _run(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ, commands)
        print(end="", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - a user must never see a traceback
        return _report(error)
    return code


def _run(argv: Sequence[str], environ: Mapping[str, str], commands: Sequence[Command] | None) -> int:
    if "--version" in argv:
        print(f"{PROGRAM} {__version__}")
        return 0
    from exporter import settings_sources as sources  # noqa: PLC0415 - see TYPE_CHECKING
    from exporter.cli import COMMANDS  # noqa: PLC0415 - see TYPE_CHECKING

    commands = COMMANDS if commands is None else commands
    parser = sources.build_parser(
        usage=f"{PROGRAM} [COMMAND] [OPTION]...", description=_about(commands), epilog=_EPILOG
    )
    flags, wants_help, rest = sources.parse_flags(parser, argv)
    if wants_help and not (rest and not rest[0].startswith("-")):
        print(parser.format_help(), end="")
        return 0
    command, words = _choose(rest, commands)
    settings = None if wants_help else sources.load(flags, environ)
    module = command.load()
    own_parser = sources.Parser(
        prog=f"{PROGRAM} {command.name}",
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        epilog=f"Every option of the exporter may be given as well: {PROGRAM} --help.",
    )
    own_parser.add_argument("-h", "--help", action="store_true", help="show this help")
    module.add_arguments(own_parser)
    if settings is None:
        print(own_parser.format_help(), end="")
        return 0
    arguments, unknown = own_parser.parse_known_args(words)
    sources.reject_unknown(unknown, [parser, own_parser])
    _start_logging(settings, command)
    return module.run(settings, arguments)


def _choose(words: Sequence[str], commands: Sequence[Command]) -> tuple[Command, Sequence[str]]:
    from exporter.cli import DEFAULT  # noqa: PLC0415 - see TYPE_CHECKING
    from exporter.settings_sources import suggestion  # noqa: PLC0415 - see TYPE_CHECKING

    named = bool(words) and not words[0].startswith("-")
    name = words[0] if named else DEFAULT
    by_name = {command.name: command for command in commands}
    if name not in by_name:
        raise ConfigError(f"unknown command {quoted(name)}{suggestion(name, by_name)}")
    return by_name[name], words[named:]


def _about(commands: Sequence[Command]) -> str:
    width = max(len(command.name) for command in commands)
    return "\n".join([_ABOUT, "", "commands:", *(f"  {command.name:{width}}  {command.help}" for command in commands)])


def _start_logging(settings: Settings, command: Command) -> None:
    from exporter.log import configure  # noqa: PLC0415 - see TYPE_CHECKING

    chosen = "log_level" in settings.given
    configure(settings.log_level if chosen else command.log_level, settings.log_format, sys.stderr)


def _report(error: Exception) -> int:
    causes = list(leaves(error))
    if all(isinstance(cause, ExporterError | OSError) for cause in causes):
        print(f"{PROGRAM}: error: {_one_line(causes[0])}", file=sys.stderr)
        return USER_ERROR
    import logging  # noqa: PLC0415 - see TYPE_CHECKING

    from exporter.log import configure  # noqa: PLC0415 - see TYPE_CHECKING

    if not logging.getLogger().handlers:
        configure("info", "logfmt", sys.stderr)
    logging.getLogger("exporter").critical("stopped by a defect in this program", exc_info=error)
    return DEFECT


def _one_line(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{quoted(os.fspath(error.filename))}: {error.strerror}"
    return escape_control(text)


def _discard_output() -> None:
    # The interpreter flushes standard output once more at its end, and would complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
