"""The documents name what there is: each setting and each command in one place, and links that lead somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer import Context
from typer.core import TyperGroup

from quantmatrix_pipeline.api.former_names import INTRADAY, SUCCESSORS
from quantmatrix_pipeline.cli.main import app
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.settings.loading import FROM_ENVIRONMENT_ONLY, VARIABLES
from quantmatrix_pipeline.settings.vendors import VendorFields

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").glob("*.md")]
ELSEWHERE = {"QM_BENCH_DATA"}  # docs/benchmarks.md
PREFIXES = [field.removesuffix("_budget") for field in VendorFields.model_fields if field.endswith("_budget")]
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of the tables' rows that begin with a name; a bar inside a cell is written with a backslash."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def part(file: str, heading: str) -> str:
    return (ROOT / file).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def settings_rows() -> list[tuple[list[str], list[str], str]]:
    """Return (variables, defaults, meaning) of each row of settings; `..._X` is the first one's name with X."""
    few = (ROOT / "docs" / "settings.md").read_text().split("\n## Names of the systems")[0]
    found = []
    for variables, defaults, meaning in rows(part("README.md", "Settings") + few):
        names = re.findall(r"`([A-Z][\w<>]+|\.\.\.\w+)`", variables)
        names = [n.replace("...", names[0].removesuffix("_SYSTEM_STATUS")) for n in names]
        found.append((names, [default.strip(" `") for default in defaults.split(", ")], meaning))
    return found


def test_every_setting_is_documented_in_one_place() -> None:
    documented = Counter(name for names, _, _ in settings_rows() for name in names)
    assert [name for name, times in documented.items() if times > 1] == []
    of_vendors = {f"QM_{name.upper()}_{what}" for name in PREFIXES for what in ("BUDGET", "BASE_URL")}
    expected = [set(names) for names in VARIABLES.values() if names[0] not in of_vendors]
    expected += [{name} for name in ("QM_<VENDOR>_BUDGET", "QM_<VENDOR>_BASE_URL", *FROM_ENVIRONMENT_ONLY)]
    assert [names for names in expected if not names & documented.keys()] == [ELSEWHERE]
    assert documented.keys() <= set().union(*expected)


def test_the_documented_defaults_are_those_in_force() -> None:
    fields = {names[0]: Settings.model_fields[field].default for field, names in VARIABLES.items()}
    told = {
        name: float(default)
        for names, defaults, _ in settings_rows()
        if len(names) == len(defaults)
        for name, default in zip(names, defaults, strict=True)
        if NUMBER.fullmatch(default)
    }
    assert told == {name: fields[name] for name in told}
    assert len(told) > 40
    (budgets,) = [meaning for names, _, meaning in settings_rows() if names == ["QM_<VENDOR>_BUDGET"]]
    assert dict(re.findall(r"\b([A-Z_]+) `([^`]+)`", budgets)) == {
        name.upper(): Settings.model_fields[f"{name}_budget"].default for name in PREFIXES
    }


def commands(command: Any, name: str = "qm") -> Iterator[str]:
    if not isinstance(command, TyperGroup):
        yield name
        return
    for child in command.list_commands(Context(command)):
        yield from commands(command.get_command(Context(command), child), f"{name} {child}")


def named(cell: str, exist: set[str]) -> Iterator[str]:
    """Yield the commands that a cell names, such as each of `qm gaps list | accept`."""
    for said in re.findall(r"`(qm [^`]+)`", cell):
        stem = " ".join(said.split()[:2])
        if stem in exist:
            yield stem
        else:
            for alternative in re.split(r" \[| --", said.removeprefix(f"{stem} "))[0].split("|"):
                yield f"{stem} {alternative.split()[0]}"


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    exist = set(commands(typer.main.get_command(app)))
    assert {
        name for cells in rows((ROOT / "docs" / "commands.md").read_text()) for name in named(cells[0], exist)
    } == exist
    assert {name for cells in rows(part("README.md", "Commands")) for name in named(cells[0], exist)} < exist


def test_the_names_of_other_systems_lead_to_what_the_api_launches() -> None:
    table = (ROOT / "docs" / "operations.md").read_text().split("\n### Names of other systems\n")[1].split("\n## ")[0]
    told = {
        name: ours.split("`")[1] if "`" in ours else None
        for theirs, ours in rows(table)
        for name in re.findall(r"`(\w+)`", theirs)
    }
    assert told == {name: successor.job for name, successor in SUCCESSORS.items()} | dict.fromkeys(INTRADAY)


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    lines = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_link_between_the_documents_leads_somewhere() -> None:
    looked_at = 0
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            assert file.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{document.name}: {target}"
            looked_at += 1
    assert looked_at > 80


def test_a_person_reads_the_readme_in_three_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    words = sum(len(line.split()) for line in prose.splitlines() if not line.startswith("|"))
    assert words < 900  # at 300 a minute; tables are looked up in
