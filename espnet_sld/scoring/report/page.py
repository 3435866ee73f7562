"""One HTML file: style, program and data inside; nothing is fetched, and the page's own policy forbids it."""

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from espnet_sld.scoring.report import markup

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
POLICY += "media-src data:; img-src data:"
PAGE = """<!DOCTYPE html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="{policy}">
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=color-scheme content="light dark">
<link rel=icon href="data:,">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header>
<div><h1>{heading}</h1>{lead}</div>
<button type=button id=theme aria-label="light or dark">◐</button>
</header>
<nav aria-label=contents>{contents}</nav>
<main>
{main}
</main>
<footer>
{footer}
</footer>
<script type=application/json id=data>{data}</script>
<script>
{program}
</script>
</body>
</html>
"""
UTTERANCES = """
<div class=controls>
<label>set <select id=set></select></label>
<label>system <select id=first></select></label>
<label>compared with <select id=second></select></label>
<label>show <select id=filter>
<option value=all>all utterances</option><option value=wrong>with errors</option>
<option value=differ class=two>on which the two differ</option>
<option value=S>with substitutions</option><option value=I>with insertions</option>
<option value=D>with deletions</option><option value=audio>with audio</option>
<option value=picture>with an image</option>
</select></label>
<label>order <select id=order>
<option value=differ class=two>difference, then errors</option><option value=errors>most errors</option>
<option value=rate>highest error rate</option><option value=id>utterance id</option>
</select></label>
<label>search <input id=search type=search placeholder="words, id, speaker; /regular expression/"></label>
</div>
<div id=comparison aria-live=polite></div>
<p class=note id=about-set></p>
<p class=note id=shown aria-live=polite></p>
<p class=key>Key: kept <ins class=I>+inserted+</ins> <del class=D>deleted</del>
<span class=S><del>reference</del> <b>→<span id=output>heard</span></b></span></p>
<ol id=utterances></ol>
<button type=button id=more>show more</button>
<noscript><p>The list of utterances needs JavaScript; tables and charts do not.</p></noscript>
"""
ATTENTION = """
<div class=controls>
<label>utterance <select id=attended></select></label>
<label>layer <select id=layer></select></label>
<label>heads <select id=heads><option value=mean>mean</option>
<option value=max>largest</option></select></label>
<label>shade <select id=shade><option value=row>each row by its largest</option>
<option value=all>all by the largest</option></select></label>
</div>
<div class=scroll>
<canvas id=attention role=img aria-label="attention from text tokens to speech tokens"></canvas>
</div>
<p class=note id=attention-note></p>
"""


def render(
    *, title: str, lead: str, sections: Sequence[tuple[str, str, str]], payload: Any, notes: Sequence[str]
) -> str:
    """The page.

    Args:
        lead: HTML under the heading. sections: (id, name in the contents, HTML); empty ones are left out.
        payload: JSON values for the page's program. notes: sentences of the footer.
    """
    there = [(name, words, html) for name, words, html in sections if html]
    contents = "".join(f'<a href="#{markup.text(name)}">{markup.text(words)}</a>' for name, words, _ in there)
    return PAGE.format(
        policy=POLICY,
        title=markup.text(title),
        heading=markup.text(title),
        style=asset("report.css"),
        lead=lead,
        contents=contents,
        main="\n".join(html for _, _, html in there),
        footer="".join(markup.paragraph(note) for note in notes),
        data=json_for_html(payload),
        program=asset("report.js"),
    )


def asset(name: str) -> str:
    """A file beside this module."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def json_for_html(values: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    dumped = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return dumped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
