// One sentence on what the server keeps, from its own statement at /transparency.json.

/**
 * @param {unknown} statement
 * @returns {string}
 */
export function keepsSentence(statement) {
  const days = /** @type {{retention_days?: unknown} | null} */ (statement)?.retention_days;
  if (days === 0) return 'This server keeps nothing about calls.';
  if (typeof days !== 'number' || !(days > 0)) return '';
  const span = days === 1 ? 'one day' : `${days} days`;
  return `Of a finished call this server keeps one line for ${span}: the day, how many minutes, ` +
    'how many people at most, and how it ended. Not who, not from where, not what.';
}

/** Fills every place that states it. */
export async function stateWhatIsKept() {
  let sentence = '';
  try {
    const answer = await fetch('/transparency.json', { cache: 'no-store' });
    if (answer.ok) sentence = keepsSentence(await answer.json());
  } catch {
    // Said below.
  }
  sentence ||= 'The server did not state what it keeps.';
  for (const place of document.querySelectorAll('.keeps')) {
    const link = Object.assign(document.createElement('a'), { href: '/transparency', textContent: 'See all of it' });
    link.target = '_blank';
    link.rel = 'noopener';
    place.replaceChildren(`${sentence} `, link, '.');
  }
}
