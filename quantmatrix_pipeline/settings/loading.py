"""Reading the settings from the environment and from the file that `QM_ENV_FILE` names, whole or not at all."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings.fields import Settings, is_set
from quantmatrix_pipeline.settings.vendors import variables_of

ENV_FILE = "QM_ENV_FILE"
VARIABLES: Mapping[str, tuple[str, ...]] = {field: variables_of(Settings, field) for field in Settings.model_fields}
KNOWN = frozenset(name for names in VARIABLES.values() for name in names) | {ENV_FILE}
# Read where they are used, before any file is.
FROM_ENVIRONMENT_ONLY = ("QM_NOW", "QM_BENCH_DATA")
# The tests' own, which a developer's shell may hold.
_OF_THE_TESTS = ("QM_SHARED_DATA", "QM_TEST_RUN_FOLDER", "QM_WRITE_ANSWERS")
# Names of ours without QM_ begin or end so; other programs' do, too, so that only a near miss of one is a mistake.
_LIKE_OURS = re.compile(r"(POLICY|BACKFILL|TIER_MAXS|DISCORD_WEBHOOK)_.*|.*_API_KEY")
_NEAR_MISS = 0.9


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading the settings came to.

    Attributes
    ----------
    settings
        None where anything is wrong.
    faults
        One line each, naming the variable; empty where nothing is wrong.
    file
        The file that `QM_ENV_FILE` names; None: none is.
    shadowed
        The file's variables that are without effect, each with the variable of the environment that wins.
    """

    settings: Settings | None
    faults: tuple[str, ...]
    file: Path | None
    shadowed: Mapping[str, str]


def load() -> Settings:
    """Read the settings from the environment and from the file that `QM_ENV_FILE` names.

    Raises
    ------
    ConfigurationError
        Names each variable that is wrong, and what it takes; or says that the named file can't be read.
    """
    reading = read()
    if reading.settings is None:
        raise ConfigurationError(f"settings: {'; '.join(reading.faults)}")
    return reading.settings


def read() -> Reading:
    """Read the settings as `load` does, and say what is wrong with them instead of raising it."""
    file = env_file()
    in_file: dict[str, str] = {}
    faults: list[str] = []
    if file is not None:
        in_file, faults = _variables_in(file)
    in_environment = {name.upper() for name, value in os.environ.items() if is_set(value)}
    given: dict[str, str] = {}
    shadowed: dict[str, str] = {}
    for field, names in VARIABLES.items():
        here = [name for name in names if name in in_file]
        winner = next((name for name in names if name in in_environment), None)
        if winner is not None:
            shadowed |= dict.fromkeys(here, winner)
        elif here:
            given[field] = in_file[here[0]]
            shadowed |= dict.fromkeys(here[1:], here[0])
    settings = None
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        for fault in error.errors():
            field = _field(str(fault["loc"][0]))
            names = VARIABLES[field]
            name = next((n for n in names if n in (in_file if field in given else in_environment)), names[0])
            where = f" in {file}" if field in given else ""
            faults.append(f"{name}{where}: {fault['msg'].removeprefix('Value error, ')}")
    return Reading(None if faults else settings, tuple(faults), file, shadowed)


def env_file() -> Path | None:
    """Return the file that `QM_ENV_FILE` names, which need not be there; None: none is named."""
    named = os.environ.get(ENV_FILE)
    return Path(named) if named else None


def _variables_in(file: Path) -> tuple[dict[str, str], list[str]]:
    """Return the variables that a file sets, in capitals, and what is wrong with it other than values."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, [f"{ENV_FILE}={str(file)!r}: no such file; unset it or name an existing one"]
    except OSError as error:
        return {}, [f"{ENV_FILE}={str(file)!r} can't be read: {error.strerror}"]
    except UnicodeDecodeError:
        return {}, [f"{ENV_FILE}={str(file)!r} is no text in UTF-8"]
    bindings = list(parse_stream(io.StringIO(text)))
    readable = [b for b in bindings if not b.error and (b.key is None or b.value is not None)]
    # A line may hold a key, so only its number is said.
    faults = [f"{file}: line {b.original.line} can't be read; write NAME=value" for b in bindings if b not in readable]
    values = dotenv_values(stream=io.StringIO("".join(b.original.string for b in readable)))
    found = {name.upper(): value or "" for name, value in values.items()}
    faults += [fault for name in found if (fault := _unknown(name, file))]
    return {name: value for name, value in found.items() if is_set(value)}, faults


def misspelt() -> tuple[str, ...]:
    """Return a line per variable of the environment that looks like a setting and is none: it is without effect.

    No error, since other programs share the environment; in the file that `QM_ENV_FILE` names it would be one.
    """
    found = []
    for name, value in sorted(os.environ.items()):
        plain = name.upper()
        if plain in KNOWN or plain in FROM_ENVIRONMENT_ONLY or plain in _OF_THE_TESTS or not is_set(value):
            continue
        ours = plain.startswith("QM_")
        if ours or _LIKE_OURS.fullmatch(plain):
            near = get_close_matches(plain, sorted(KNOWN), n=1, cutoff=0.6 if ours else _NEAR_MISS)
            if ours or near:
                found.append(f"{name}: there is no such variable" + (f"; did you mean {near[0]}?" if near else ""))
    return tuple(found)


def _unknown(name: str, file: Path) -> str | None:
    """Say what is wrong with a name that looks like one of ours; other programs may share the file."""
    if name in FROM_ENVIRONMENT_ONLY:
        return f"{name} in {file}: read from the environment only"
    ours = name.startswith(("QM_", "POLICY_", "DISCORD_WEBHOOK_")) or name.endswith("_API_KEY")
    if name in KNOWN or not ours:
        return None
    near = get_close_matches(name, sorted(KNOWN), n=1)
    return f"{name} in {file}: there is no such variable" + (f"; did you mean {near[0]}?" if near else "")


def _field(location: str) -> str:
    """Return the field that a fault concerns: pydantic names it by whichever name its value came under."""
    return next(field for field, names in VARIABLES.items() if location == field or location in names)
