/** GETs one URL, prints status and body as JSON: run inside a host, where the test itself is not. */
const url = process.argv[2] ?? '';
const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
console.log(JSON.stringify({ status: response.status, body: await response.text() }));
