"""The look of all pages, by day and by night."""

from sentiment import readings

STYLE = (
    """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1c1c; --quiet: #595959; --rule: #d9d9d9;
  --link: #0b5cad; --alarm: #b03a00 }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --ink: #e4e4e4; --quiet: #a6a6a6; --rule: #3c4045;
  --link: #7db8ff; --alarm: #ff9c57 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--ink) }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem;
  border-top: 1px solid var(--rule); padding-top: 1rem } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
.lead { font-size: 1.1rem } a { color: var(--link) }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: 1rem 0 }
.wide { overflow-x: auto; max-width: 100% } .small { color: var(--quiet) }
table { border-collapse: collapse; font-size: .95rem; overflow-wrap: normal }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0 }
th { font-weight: 600 } tbody th { font-weight: 400; min-width: 7rem }
thead th { border-bottom: 1px solid var(--rule); vertical-align: bottom; color: var(--quiet) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0 } .wide img { min-width: 34rem }
.strip { width: 11rem; height: 1rem }
.side { display: flex; flex-wrap: wrap; gap: 0 1.5rem } .side img { max-width: min(100%, 18.5rem) }
blockquote { margin: .3rem 0 1.2rem; padding-left: .8rem; border-left: 3px solid var(--rule) }
"""
    + readings.STYLE
    + """
@media (prefers-color-scheme: dark) { .reading span { color: inherit } .reading .unread { color: var(--quiet) }
  .reading .up { background: rgb(25 85 170 / var(--strength)); border-color: #7db8ff }
  .reading .down { background: rgb(150 65 10 / var(--strength)); border-color: #ff9c57 } }
"""
)
