// Conveniences only: everything it shows stands on the page without it.
'use strict';

const SHOWN = 10; // rows: the worst, and the next section still in sight

for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  let all = body.rows.length <= SHOWN + 2; // hiding one or two would not be worth a button
  const show = () => [...body.rows].forEach((row, place) => { row.hidden = !all && place >= SHOWN; });
  heads.forEach((head, column) => head.firstElementChild.addEventListener('click', () => {
    // numbers are looked at from their worst end, names from their first
    const down = head.ariaSort ? head.ariaSort === 'ascending' : column > 0;
    for (const other of heads) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = row => Number(row.cells[column].dataset.v);
    body.append(...[...body.rows].sort((a, b) => (value(a) - value(b)) * (down ? -1 : 1)));
    show();
  }));
  if (!all) {
    const more = document.createElement('button');
    more.type = 'button';
    more.className = 'more';
    more.textContent = `Show all ${body.rows.length}`;
    more.addEventListener('click', () => { all = true; show(); more.remove(); });
    table.after(more);
    show();
  }
}

for (const box of document.querySelectorAll('.copy')) {
  if (!navigator.clipboard) break; // a page from a disk may have none; the text can be selected all the same
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'more';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(box.querySelector('code').textContent);
    button.textContent = 'Copied';
  });
  box.append(button);
}

// One line through all plots over time, and what they show there, by pointer or by arrow keys.
const plots = [...document.querySelectorAll('figure > script')].map(source => {
  const figure = source.parentElement;
  const field = figure.querySelector('.field');
  const line = field.appendChild(document.createElement('i'));
  const words = figure.querySelector('.plot').appendChild(document.createElement('output'));
  return { figure, field, line, words, ...JSON.parse(source.textContent) };
});

function number(value) {
  const size = Math.abs(value);
  const digits = size < 0.1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

function said(value, unit) {
  if (value === null) return '–';
  const step = unit === 'B' ? 1024 : 1000;
  const larger = { 'bit/s': ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'], B: ['B', 'KiB', 'MiB', 'GiB'] }[unit] ?? [unit];
  let place = 0;
  while (Math.abs(value) >= step && place + 1 < larger.length) {
    value /= step;
    place += 1;
  }
  return `${number(value)} ${larger[place]}`.trim();
}

function read(at) {
  for (const { line, words, end, unit, series } of plots) {
    const all = series[0].values;
    let nearest = 0;
    all.forEach(([time], place) => { if (Math.abs(time - at) < Math.abs(all[nearest][0] - at)) nearest = place; });
    line.style.left = `${all[nearest][0] / end * 100}%`;
    line.hidden = false;
    const values = series.map(({ name, values }) => `${name} ${said(values[nearest][1], unit)}`);
    words.textContent = `${number(all[nearest][0])} s: ${values.join(', ')}`;
  }
}

function leave() {
  for (const { line, words } of plots) {
    line.hidden = true;
    words.textContent = '';
  }
}

for (const { field, end, series, line } of plots) {
  line.hidden = true;
  let at = 0;
  const box = field.parentElement;
  box.tabIndex = 0;
  field.addEventListener('pointermove', event => {
    const { left, width } = field.getBoundingClientRect();
    read(at = (event.clientX - left) / width * end);
  });
  field.addEventListener('pointerleave', event => event.pointerType === 'mouse' && leave());
  box.addEventListener('blur', leave);
  box.addEventListener('keydown', event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const step = end / series[0].values.length;
    read(at = Math.min(end, Math.max(0, at + by * step)));
  });
}
