// A reporter for node's test runner: a line per test with its time, failures in full, and one closing count.

export default async function* report(source) {
  let passed = 0, failed = 0;
  for await (const { type, data } of source) {
    if (type === 'test:stdout' || type === 'test:stderr') yield data.message;
    if (type === 'test:diagnostic' && data.file && !/^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms)\b/.test(data.message)) yield `    ${data.message}\n`;
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details.type === 'suite' || data.skip !== undefined || isFile(data)) {
      if (type === 'test:fail' && isFile(data)) failed += 1;
      if (type === 'test:pass' || !isFile(data)) continue;
    } else if (type === 'test:pass') passed += 1;
    else failed += 1;
    const seconds = (data.details.duration_ms / 1000).toFixed(1);
    yield `${type === 'test:pass' ? 'ok    ' : 'FAILED'} ${data.name} (${seconds} s)\n`;
    if (type === 'test:fail') yield `${explain(data.details.error)}\n`;
  }
  yield `${passed} passed, ${failed} failed\n`;
}

/** A file that ran to its end is no test; one that broke before its tests is a failure. */
function isFile(data) {
  return data.nesting === 0 && data.name.endsWith('.test.js');
}

function explain(error) {
  const cause = error?.cause ?? error;
  return String(cause?.stack ?? cause).replace(/^/gm, '    ');
}
