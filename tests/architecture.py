"""The picture in docs/architecture.md, from the imports of the code: `python -m tests.architecture` writes it."""

from pathlib import Path

from tests.test_layers import FILES, LAYER, imports, part

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
MARKS = "<!-- picture -->\n", "<!-- /picture -->"
TITLES = {
    5: "verbs and command line",
    4: "files and pictures",
    3: "methods",
    2: "networks, physics, simulation",
    1: "descriptors, diffusion process, devices",
}


def arrows() -> list[tuple[str, str]]:
    """Package -> package that it imports, above layer 0, which all may import."""
    found = set()
    for path in FILES:
        own = part(path)
        for module, _ in imports(path) if LAYER.get(own) else ():
            target = (module.split(".") + [""])[1]
            if module.startswith("jaxmicro.") and target != own and LAYER.get(target):
                found.add((own, target))
    return sorted(found)


def picture() -> str:
    """A flowchart in Mermaid, with a box for each layer."""
    lines = ["```mermaid", "flowchart TB"]
    for layer, title in TITLES.items():
        packages = [package for package, number in LAYER.items() if number == layer]
        lines += [f'  subgraph layer{layer}["{title}"]', f"    {' ~~~ '.join(packages)}", "  end"]
    lines += [f"  {own} --> {target}" for own, target in arrows()]
    small = ", ".join(package for package, number in LAYER.items() if number == 0)
    told = f"Arrows: imports. All may import the small files of the lowest layer: {small}."
    return "\n".join([*lines, "```", "", told, ""])


def main() -> None:
    """Write the picture into the page."""
    before, rest = PAGE.read_text().split(MARKS[0])
    PAGE.write_text(before + MARKS[0] + picture() + MARKS[1] + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()
