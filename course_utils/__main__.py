"""The command line of the course: `python -m course_utils COMMAND`.

A command is a module with two functions, named in COMMANDS and imported only when it is asked for:

    def add_arguments(parser: argparse.ArgumentParser) -> None    # its options; examples go into parser.epilog
    def main(args: argparse.Namespace) -> int | None              # does the work; the exit code, None is 0

With `--json` a command prints exactly one line of JSON, last on stdout. What the reader can put right is raised as a
CourseError: its sentence goes to stderr and the exit code is 2.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from course_utils.common import FULL, CourseError
from course_utils.extras import missing

COMMANDS = {  # name: (module, what it does)
    "doctor": ("course_utils.commands.doctor", "check this machine: one line each, OK or what to do"),
    "draw": ("course_utils.commands.draw", "draw pictures from prompts"),
    "train": (
        "course_utils.commands.train",
        "train the text-to-image model and what it needs, in any world",
    ),
    "evaluate": ("course_utils.commands.evaluate", "measure a generator or the judge, with intervals"),
    "bench": ("course_utils.commands.bench", "measure this machine and the speed ladder, with its price in quality"),
    "race": ("course_utils.commands.race", "measure what makes training faster: the time to a fixed caption accuracy"),
    "fetch": ("course_utils.commands.fetch", "download a world that does not ship, or go on with it"),
    "run": ("course_utils.classroom.run", "run lessons, tidy what they showed and stamp how it was made"),
    "student": ("course_utils.classroom.student", "write the lessons without solutions and outputs, to hand out"),
    "grade": ("course_utils.classroom.grade", "run the checks of notebooks that were handed in, and list the scores"),
}

EXAMPLES = """examples:
  python -m course_utils doctor            is this machine ready?
  python -m course_utils draw "a red circle"    a picture, written to picture.png
  python -m course_utils COMMAND --help    the options of a command, with examples
"""


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser of all commands; only the chosen command's module is imported and asked for its options."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m course_utils",
        description="Words to Pixels: check the machine and use the generators from the shell.",
        epilog=EXAMPLES,
        formatter_class=layout,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, line) in COMMANDS.items():
        command = commands.add_parser(
            name, help=line, description=f"{line[0].upper()}{line[1:]}.", formatter_class=layout
        )
        if name == chosen:
            room = importlib.import_module(module)
            room.add_arguments(command)
            command.set_defaults(main=room.main)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0 is well, 2 is something the reader can put right, 130 is Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        chosen = next((word for word in argv if not word.startswith("-")), None)
        args = build_parser(chosen).parse_args(argv, argparse.Namespace(argv=argv))
        code = args.main(args) or 0
        sys.stdout.flush()
        return code
    except CourseError as error:
        return fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "course_utils"):
            raise
        return fail(missing(package))
    except KeyboardInterrupt:
        fail("stopped by Ctrl-C.")
        return 130
    except BrokenPipeError:  # the reader of our output has left, as in `… | head`
        forget_stdout()
        return 1
    except OSError as error:
        if error.errno not in FULL:
            raise
        forget_stdout()  # it may be what is full, as in `… > file`
        return fail(f"{error.strerror}; free some space or lift the limit, and run it again.")


def forget_stdout() -> None:
    """What is still to be printed goes nowhere: the interpreter would try once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(sentence: str) -> int:
    """Prints the sentence on stderr, on one line, and returns exit code 2."""
    print("error:", " ".join(sentence.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  closed by who called us
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a console without Chinese shows \u4e00 instead of stopping
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())
