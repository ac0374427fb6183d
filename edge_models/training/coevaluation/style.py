"""How the project's reports look: light and dark, on phones, and on paper."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #56616c; --paper: #fdfcfa;
  --line: #d9d5cd; --shade: #f2efe9; --aim: #2f7d4f; --no: #a63d2f;
  --c0: #6b4c9a; --c1: #b0413e; --c2: #c47a16; --c3: #1f6f8b; --c4: #2f7d4f; --c5: #5a7d2f;
  --c6: #7d5a2f; --on: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e4dc; --soft: #a7adb4; --paper: #14181c; --line: #343b43; --shade: #1c2228;
    --aim: #6cc391; --no: #ef9486; --c0: #b79be0; --c1: #ee8f8c; --c2: #eab35f; --c3: #74c3df;
    --c4: #7fd0a0; --c5: #b3d47c; --c6: #d9b68a; --on: #14181c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 68rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .3rem 0 1rem; }
h2 { margin: 2.6rem 0 .4rem; padding-top: .8rem; border-top: 1px solid var(--line);
  font-size: 1.25rem; }
p, li { max-width: 44rem; }
.soft, figcaption, caption { color: var(--soft); }
.lead { padding: 0; list-style: none; font-size: 1.06rem; }
.lead li { margin: 0 0 .8rem; padding-left: .8rem; border-left: 3px solid var(--c3); }
.plot { display: grid; gap: .5rem 1.5rem; grid-template-columns: minmax(0, 1fr); margin: 1rem 0; }
@media (min-width: 56rem) { .plot { grid-template-columns: 3fr 2fr; align-items: center; } }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--line); } .tick { fill: var(--soft); font-size: 14px; }
.axis { fill: var(--ink); font-size: 15px; }
.aim { fill: var(--aim); fill-opacity: .16; stroke: var(--aim); stroke-dasharray: 4 3; }
.box { fill: var(--c); fill-opacity: .13; stroke: var(--c); stroke-opacity: .55; }
.mark circle { fill: var(--c); stroke: var(--paper); stroke-width: 1.5; }
.mark line { stroke: var(--c); } .mark .spot { stroke-width: .8; }
.front { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 1 4;
  stroke-linecap: round; }
.mark text { fill: var(--on); font: 600 16px system-ui, sans-serif; }
@media (max-width: 40rem) { .tick, .axis { font-size: 23px; } .mark text { font-size: 18px; } }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); }
.wide { overflow-x: auto; margin: 1rem 0 1.6rem; }
.wide:focus-visible { outline: 2px solid var(--c3); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 .4rem; max-width: min(44rem, 100vw - 2rem);
  position: sticky; left: 0; }
th, td { text-align: left; padding: .34rem .7rem .34rem 0; border-top: 1px solid var(--line);
  vertical-align: top; min-width: 4.4rem; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--paper);
  min-width: 8.5rem; max-width: 24rem; }
.long { min-width: 17rem; }
.yes { color: var(--aim); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
.key { display: inline-block; min-width: 1.4rem; margin-right: .3rem; border-radius: 1rem;
  background: var(--c); color: var(--on); text-align: center; font-weight: 600; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--soft); }
@media print { .wide { overflow: visible; } details > * { display: block; } }
"""
