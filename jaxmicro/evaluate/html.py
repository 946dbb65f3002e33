"""Parts of a self-contained HTML page: pictures as base64, no links, no scripts."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

from jaxmicro.evaluate.report_texts import CAPTIONS, STYLE


def page(title: str, body: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def figure(name: str, content: bytes) -> str:
    heading, caption = CAPTIONS.get(name, (name.replace("_", " "), ""))
    if name.startswith("design_"):
        heading, caption = heading.capitalize(), CAPTIONS["design"][1]
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<h2>{escape(heading)}</h2>\n<figure><img alt="{escape(heading)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def settings(config: Mapping | None) -> str:
    if config is None:
        return ""
    text = escape(json.dumps(config, indent=2, default=str))
    return f"<details><summary>Configuration of this run</summary><pre>{text}</pre></details>"
