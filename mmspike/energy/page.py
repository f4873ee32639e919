"""Style and script of the page of an energy report. Nothing is loaded from anywhere."""

STYLE = """
:root { color-scheme: light dark; --text: #1d2430; --back: #fff; --quiet: #5b6472;
        --line: #dfe3e8; --strong-line: #c4cad3; --head: #f3f5f8; --even: #f9fafb;
        --warn: #fff5e0; --warn-line: #e08a1e; --alarm: #fde8e6; --alarm-line: #c0392b; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e7ec; --back: #14181f; --quiet: #9aa4b2; --line: #323a46;
          --strong-line: #4a5463; --head: #222a35; --even: #1a2029;
          --warn: #33291a; --warn-line: #d08a2e; --alarm: #3a1f1e; --alarm-line: #e0584a; }
  img { filter: invert(.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
       margin: 0 auto; max-width: 1320px; padding: 1.5rem 2rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; } section { margin-top: 2.6rem; }
p.sub { color: var(--quiet); margin: 0 0 1.2rem; overflow-wrap: anywhere; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem;
        flex: 1 0 10rem; max-width: 16rem; }
.card b { display: block; font-size: 1.3rem; white-space: nowrap; }
.card span { color: var(--quiet); font-size: .85rem; }
.scroll { overflow: auto; max-height: min(36rem, 85vh); border: 1px solid var(--line);
          border-radius: 8px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .82rem; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; z-index: 1; background: var(--head); font-weight: 600;
     white-space: normal; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; position: sticky; left: 0; }
th:first-child { z-index: 2; }
tbody tr, tbody td:first-child { background: var(--back); }
tbody tr:nth-child(even), tbody tr:nth-child(even) td:first-child { background: var(--even); }
tr.total td { font-weight: 600; border-top: 2px solid var(--strong-line); }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--warn-line); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
input[type=search] { font: inherit; color: inherit; background: var(--back); width: 22rem;
                     max-width: 100%; margin: 0 0 .5rem; padding: .3rem .6rem;
                     border: 1px solid var(--strong-line); border-radius: 6px; }
.picture { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
img { display: block; width: 100%; min-width: 44rem; height: auto; }
.warning, .banner { background: var(--warn); border-left: 4px solid var(--warn-line);
                    padding: .5rem .8rem; margin: .5rem 0; overflow-wrap: anywhere; }
.banner { background: var(--alarm); border-color: var(--alarm-line); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem;
     font-size: .85rem; margin: .5rem 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; } li { margin: .2rem 0; }
@media (max-width: 40rem) {
  body { padding: 1rem .8rem 3rem; } h1 { font-size: 1.3rem; }
  .card { flex-basis: 8rem; padding: .5rem .7rem; } .card b { font-size: 1.1rem; }
  td:first-child, th:first-child { min-width: 8.5rem; max-width: 11rem; white-space: normal;
                                   overflow-wrap: anywhere; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
}
"""

# Tables are whole without it. Of those marked so, a click on the head of a column sorts the rows,
# downwards, upwards and back again, and words in the box keep the rows that hold all of them.
SCRIPT = """
const isNumber = text => /^-?[\\d,.]+(e[+-]?\\d+)?%?$/.test(text);
const toNumber = text => parseFloat(text.replaceAll(',', ''));
const byName = new Intl.Collator('en', {numeric: true}).compare;

function makeSortable(table) {
  const body = table.tBodies[0], original = [...body.rows];
  const total = original.filter(row => row.className === 'total');
  const rows = original.filter(row => row.className !== 'total');
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.append(...head.childNodes);
    head.append(button);
    const textOf = row => row.cells[column].textContent;
    const known = row => textOf(row) !== '-' && textOf(row) !== '';
    const numeric = rows.filter(known).every(row => isNumber(textOf(row)));
    const orders = numeric ? ['descending', 'ascending', ''] : ['ascending', 'descending', ''];
    button.onclick = () => {
      const before = head.getAttribute('aria-sort');
      const order = orders[(orders.indexOf(before) + 1) % 3];
      heads.forEach(other => other.removeAttribute('aria-sort'));
      if (order) head.setAttribute('aria-sort', order);
      const sign = order === 'descending' ? -1 : 1;
      const compare = (a, b) => sign * (numeric
        ? toNumber(textOf(a)) - toNumber(textOf(b)) : byName(textOf(a), textOf(b)));
      const sorted = order ? [...rows.filter(known).sort(compare),
                              ...rows.filter(row => !known(row))] : rows;
      body.append(...sorted, ...total);
    };
  });
}

function makeSearchable(table) {
  const box = document.createElement('input'), rows = [...table.tBodies[0].rows];
  box.type = 'search';
  box.placeholder = 'search, such as: stages.3 conv2d';
  box.setAttribute('aria-label', 'keep rows that hold these words');
  box.oninput = () => {
    const words = box.value.toLowerCase().split(/\\s+/);
    for (const row of rows) {
      const text = [...row.cells].map(cell => cell.textContent).join(' ').toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  };
  table.parentElement.before(box);
}

document.querySelectorAll('table.sortable').forEach(makeSortable);
document.querySelectorAll('table.searchable').forEach(makeSearchable);
"""
