"""The command `jaxmicro`: parse options, run the verb, turn an error into one line and an exit code.

Exit codes: 0 done; 2 wrong input, or a request that cannot be met; 3 designs are written, but miss a target;
130 interrupted by Ctrl-C, 143 by SIGTERM, which batch systems send: both keep what was computed. Any other exception
is a bug.
"""

import contextlib
import dataclasses
import errno
import importlib
import importlib.metadata
import inspect
import io
import itertools
import logging
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn, Union

import tyro

from jaxmicro.cli.bundled import bundled_names
from jaxmicro.cli.options import (
    Demo,
    Design,
    Evaluate,
    Export,
    Generate,
    Measure,
    Reconstruct,
    Simulate,
    Train,
    check_bounds,
)
from jaxmicro.cli.signals import Terminated, ended_by_sigterm
from jaxmicro.errors import TargetsMissed, UserError, perhaps_meant

DESCRIPTION = """3D microstructures from one 2D micrograph, or from many samples with numbers attached.

A usual session: 'train' on a segmented micrograph, 'reconstruct' volumes, 'evaluate' them against the micrograph.
With a collection of samples ('simulate' makes one): 'measure' it, 'train' on it, 'generate' samples to given features.
'jaxmicro VERB --help' explains each verb; 'jaxmicro demo' shows all of it in a few minutes.
"""

LEAST_WIDTH = 40  # columns; on narrower terminals the lines of the help are wrapped
INTERRUPTED = 130, 143  # exit codes after Ctrl-C and after SIGTERM
VERBS = (Train, Reconstruct, Design, Generate, Measure, Evaluate, Simulate, Export, Demo)


def program() -> NoReturn:
    """`main` as a process of its own. Interrupted, it ends at once: threads of XLA may still compute, and an
    interpreter that cleans up takes the data away from under them (jaxlib 0.10: now and then a segmentation fault)."""
    code = main()
    if code in INTERRUPTED:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Raises:
        SystemExit: after --help (code 0) or on options that cannot be parsed (code 2), as argparse does.
    """
    try:
        try:
            return _main(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # here, because an error at interpreter exit would not be caught
    except BrokenPipeError:  # the process that reads our output has ended, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(argv: list[str]) -> int:
    if argv == ["--version"]:
        return _print_version()
    if not argv:
        argv = ["--help"]
    command = parse(argv)
    if command.quiet:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # no warnings of slow compilation from XLA; read when JAX is loaded
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no messages about its search for fonts
    with ended_by_sigterm():
        return _run(command, argv)


def _run(command: Any, argv: Sequence[str]) -> int:
    try:
        check_bounds(command)
        verb = importlib.import_module(f"jaxmicro.cli.{_verb(type(command))}")  # loads JAX: not for --help
        verb.run(command)
    except UserError as error:
        return _fail(str(error), 2)
    except TargetsMissed as missed:
        return _fail(str(missed), 3)
    except KeyboardInterrupt as interruption:
        outcome = "what was computed is kept." if _keeps(command) else "nothing was kept."
        code = INTERRUPTED[isinstance(interruption, Terminated)]
        return _fail(f"interrupted; {outcome} {_resume_hint(command, argv)}", code)
    except BrokenPipeError:  # which is an OSError
        raise
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        text = _known_failure(error)
        if text is None:
            raise
        return _fail(text if _is_memory(error) else f"{text} {_resume_hint(command, argv)}", 2)
    return 0


@contextlib.contextmanager
def _readable_width() -> Iterator[None]:
    """Within the context the terminal counts as at least LEAST_WIDTH columns: tyro's layout does not terminate in fewer
    than five."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(max(LEAST_WIDTH, shutil.get_terminal_size().columns))
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def parse(argv: Sequence[str]) -> Any:
    """The verb with its options, as one of the dataclasses of `jaxmicro.cli.options`.

    Raises:
        SystemExit: after --help (code 0) or on options that cannot be parsed (code 2).
    """
    kinds = tuple(
        Annotated[kind, tyro.conf.subcommand(_verb(kind), description=_help(kind, whole=_verb(kind) in argv[:1]))]
        for kind in VERBS
    )
    union: Any = Union[kinds]  # noqa: UP007  # a union of types that are known only now
    complaint = io.StringIO()
    argv = _merged_options(argv)
    try:
        with contextlib.redirect_stderr(complaint), _readable_width():
            return tyro.cli(
                union,
                prog="jaxmicro",
                description=_wrapped(DESCRIPTION),
                args=argv,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if stop.code:
            _fail(_in_one_line(complaint.getvalue(), argv), 2)
        raise


def _merged_options(argv: Sequence[str]) -> list[str]:
    """The arguments with all values of a repeated option at its first occurrence: tyro would keep only the last ones.

    Raises:
        SystemExit: an option that takes one value was repeated (code 2).
    """
    starts = [number for number, word in enumerate(argv) if number == 0 or word.startswith("--")]
    kinds, parts, first = _options(argv[0]) if argv else {}, [], {}
    for start, end in itertools.pairwise([*starts, len(argv)]):
        name, equals, value = argv[start].partition("=")
        name, values = name.replace("_", "-"), list(argv[start + 1 : end])
        kind = kinds.get(name, "bool")
        if name in first and "tuple" in kind:
            first[name] += [value, *values] if equals else values
        elif name in first and "bool" not in kind:
            _fail(f"{name} is given more than once and takes one value; leave out all but one", 2)
            raise SystemExit(2)
        else:  # also a repeated switch: the positional arguments after it stay in their order
            parts.append([argv[start], *values])
            first.setdefault(name, parts[-1])
    return [word for part in parts for word in part]


def _options(verb: str) -> dict[str, str]:
    """The options of a verb with their types as text; empty for an unknown verb."""
    kinds = {_verb(kind): kind for kind in VERBS}
    fields = dataclasses.fields(kinds[verb]) if verb in kinds else ()
    return {"--" + field.name.replace("_", "-"): str(field.type) for field in fields}


def _in_one_line(frame: str, argv: Sequence[str]) -> str:
    """The first message in tyro's frame as one line; for a misspelt option its name and the closest one."""
    parts: list[list[str]] = [[]]
    for line in frame.splitlines()[1:-1]:
        text = line.strip("│ ")
        if text.startswith("───"):
            parts.append([])
        elif text:
            parts[-1].append(text)
    message = " ".join(parts[0]).removesuffix(".").replace(", 'None')", ")")
    options = _options(argv[0])
    if not options:
        return f"no verb {argv[0]!r}; there are {', '.join(map(_verb, VERBS))}: see 'jaxmicro --help'"
    given = [word for word in argv[1:] if not word.startswith("--") and os.path.isfile(word)]
    if len(given) > 1 and message.startswith("Unrecognized"):
        return (
            f"{argv[0]} reads one file, and {len(given)} were given ({given[0]} ...); of a volume in slices give the "
            "folder, or a pattern in quotes, such as 'slices/*.png'"
        )
    wrong = [word for word in argv[1:] if word.startswith("--") and word.replace("--no-", "--") not in options]
    if wrong and wrong[0] not in options:
        message = f"no option {wrong[0]}{perhaps_meant(wrong[0], options)}"
    elif message.startswith("Error parsing "):
        option = message.split(":")[0].removeprefix("Error parsing ")
        kind = options.get(option.split()[0].split("/")[0], "")
        message = f"{option}: cannot read the value; {_expected(option, kind)}"
    return f"{message}; see 'jaxmicro {argv[0]} --help'"


def _expected(option: str, kind: str) -> str:
    """The values that an option of this type takes."""
    if option == "--voxel-size":
        return "expected a number, and its unit as --unit"
    numbers = "whole numbers" if re.search(r"\bint\b", kind) else "numbers"
    if option == "--fractions":
        numbers = "a number, such as 0.4 or 40%, for each phase"
    if "tuple" in kind:
        return f"expected {numbers}; separate numbers by spaces"
    return "expected a whole number" if re.search(r"\bint\b", kind) else "expected a number"


def _verb(kind: type) -> str:
    return kind.__name__.lower()


def _help(kind: type, *, whole: bool) -> str:
    """Help text of a verb (`whole`), or its first line for the list of verbs; BUNDLED is the names of the priors."""
    names = bundled_names(of_collections=kind.__name__ == "Generate")
    text = inspect.cleandoc(kind.__doc__ or "").replace("BUNDLED", ", ".join(names) or "none")
    if not whole:
        return text.split("\n", 1)[0]
    return _wrapped(text)


def _wrapped(text: str) -> str:
    """Paragraphs wrapped to the width of the terminal, lines indented by a space: tyro joins lines that start with a
    letter, leaves indented ones as they are, and never wraps a description."""
    width = max(LEAST_WIDTH, shutil.get_terminal_size().columns)
    return "\n\n".join(
        textwrap.fill(part, width, initial_indent=" ", subsequent_indent=" ") for part in text.strip().split("\n\n")
    )


def _print_version() -> int:
    print(f"jaxmicro {importlib.metadata.version('jaxmicro')}")
    return 0


def _fail(text: str, code: int) -> int:
    print(f"jaxmicro: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return code


def _keeps(command: Any) -> bool:
    """Whether an interrupted command continues: all but the measurement of an image or a volume."""
    if not isinstance(command, Measure):
        return True
    from jaxmicro.cli.collection import names_collection

    return names_collection(command)


def _resume_hint(command: Any, argv: Sequence[str]) -> str:
    if not hasattr(command, "resume") or not _keeps(command):
        return ""
    missing = [] if command.resume or isinstance(command, Measure) else ["--resume"]
    return f"Continue with: {shlex.join(['jaxmicro', *argv, *missing])}"


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _known_failure(error: Exception) -> str | None:
    """Message for a failure of the environment (disk, memory, files); None for a bug."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}; what was written before is kept. Free some space."
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    if _is_memory(error):
        return (
            "not enough memory; use a smaller image or volume: for 'reconstruct' --size and --together, "
            "for 'train' --batch, for 'measure' a part of the volume or --diffusivity never."
        )
    if "No space left on device" in str(error) or "NO_SPACE" in str(error):  # from libraries with their own file access
        return "no space left on the disk; what was written before is kept. Free some space."
    return None
