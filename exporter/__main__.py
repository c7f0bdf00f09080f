"""The ``throttle-exporter`` program: from a command line to a command's exit code.

Exit codes: a command's own; 2 for an error that the user can fix, one line on standard error; 70 for a defect of this
program (not 1, which ``explain`` uses for findings); 130 after Ctrl-C; 141 when the output's reader is gone.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from exporter import __version__
from exporter import settings_sources as sources
from exporter.cli import COMMANDS, DEFAULT, Command
from exporter.errors import ConfigError, ExporterError, escape_control, leaves, quoted
from exporter.log import configure

PROGRAM: Final = "throttle-exporter"
USER_ERROR, DEFECT, INTERRUPTED, BROKEN_PIPE = 2, 70, 130, 141
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
    environ: Mapping[str, str] = os.environ,
    commands: Sequence[Command] = COMMANDS,
) -> int:
    """Run one command and return the exit code; ``argv`` defaults to the program's arguments."""
    try:
        code = _run(sys.argv[1:] if argv is None else argv, environ, commands)
        print(end="", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end, and would complain.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - a user must never see a traceback
        return _report(error)
    return code


def _run(argv: Sequence[str], environ: Mapping[str, str], commands: Sequence[Command]) -> int:
    by_name = {command.name: command for command in commands}
    width = max(map(len, by_name))
    listed = [f"  {name:{width}}  {command.help}" for name, command in by_name.items()]
    parser = sources.build_parser(
        usage=f"{PROGRAM} [COMMAND] [OPTION]...",
        description="\n".join([_ABOUT, "", "commands:", *listed]),
        epilog=_EPILOG,
    )
    flags, general, words = sources.parse_flags(parser, argv)
    named = bool(words) and not words[0].startswith("-")
    if general.version:
        print(f"{PROGRAM} {__version__}")
        return 0
    if general.help and not named:
        print(parser.format_help(), end="")
        return 0
    name = words.pop(0) if named else DEFAULT
    command = by_name.get(name)
    if command is None:
        raise ConfigError(f"unknown command {quoted(name)}{sources.suggestion(name, by_name)}")
    settings = None if general.help else sources.load(flags, environ)
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
    level = settings.log_level if "log_level" in settings.given else command.log_level
    configure(level, settings.log_format, sys.stderr)
    code: int = module.run(settings, arguments)
    return code


def _report(error: Exception) -> int:
    causes = list(leaves(error))
    if all(isinstance(cause, ExporterError | OSError) for cause in causes):
        text, first = str(causes[0]), causes[0]
        if isinstance(first, OSError) and first.strerror:
            where = "" if first.filename is None else f"{quoted(os.fspath(first.filename))}: "
            text = f"{where}{first.strerror}"
        print(f"{PROGRAM}: error: {escape_control(text)}", file=sys.stderr)
        return USER_ERROR
    if not logging.getLogger().handlers:
        configure("info", "logfmt", sys.stderr)
    logging.getLogger("exporter").critical("stopped by a defect in this program", exc_info=error)
    return DEFECT


if __name__ == "__main__":
    sys.exit(main())
