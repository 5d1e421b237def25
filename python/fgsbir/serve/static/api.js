// Client of the HTTP API.

const PATIENCE = 20000; // milliseconds for an answer to arrive

/** An answer other than yes. `retryAfter`: seconds after which it is worth asking again. */
export class Refusal extends Error {
  constructor(message, retryAfter = null) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** The gallery's name, number of photos, attributes, and the attribute weight to start with. */
export function galleryInfo() {
  return ask("api/gallery");
}

/** The photos nearest to a sketch. */
export async function search(png, { k = 10, weight, must, mustNot }, signal) {
  const query = new URLSearchParams({ k, attribute_weight: weight });
  for (const name of must) query.append("must", name);
  for (const name of mustNot) query.append("must_not", name);
  const answer = await ask(`api/search?${query}`, { method: "POST", body: png, signal });
  // The server counts from its root, which a proxy may have put elsewhere; the page lies there, too.
  for (const match of answer.matches) match.photo = match.photo.slice(1);
  return answer;
}

async function ask(url, { signal, ...options } = {}) {
  signal?.throwIfAborted();
  const request = new AbortController();
  signal?.addEventListener("abort", () => request.abort());
  const timer = setTimeout(() => request.abort(), PATIENCE);
  let response, text;
  try {
    response = await fetch(url, { ...options, signal: request.signal });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(request.signal.aborted ? "The server does not answer." : "The server cannot be reached.");
  } finally {
    clearTimeout(timer);
  }
  const answer = parsed(text);
  if (response.ok && answer) return answer;
  const seconds = Number(response.headers.get("Retry-After")) || null;
  if (response.status === 413 && !answer) throw new Refusal("The sketch is too large for the proxy before the server.");
  throw new Refusal(reason(answer) ?? `The server's answer (${response.status}) cannot be read.`, seconds);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reason(answer) {
  return answer?.error ? `${answer.error[0].toUpperCase()}${answer.error.slice(1)}.` : null;
}
