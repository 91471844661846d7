// Conveniences only: everything it shows stands on the page without it.
'use strict';
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener('click', () => {
    // numbers are looked at from their worst end, names from their first
    const down = head.ariaSort ? head.ariaSort === 'ascending' : column > 0;
    for (const other of heads) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const body = table.tBodies[0];
    const value = row => Number(row.cells[column].dataset.v);
    body.append(...[...body.rows].sort((a, b) => (value(a) - value(b)) * (down ? -1 : 1)));
  }));
}
