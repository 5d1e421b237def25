// What the page asks of the server.

/** An answer other than yes. `retryAfter`: seconds after which it is worth asking again. */
export class Refusal extends Error {
  constructor(message, retryAfter = null) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** The gallery's name, number of photos, attributes, and the attribute weight to start with. */
export function galleryInfo() {
  return ask("/api/gallery");
}

/** The photos nearest to a sketch. */
export function search(png, { k = 10, weight, must, mustNot }, signal) {
  const query = new URLSearchParams({ k, attribute_weight: weight });
  for (const name of must) query.append("must", name);
  for (const name of mustNot) query.append("must_not", name);
  return ask(`/api/search?${query}`, { method: "POST", body: png, signal });
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.");
  }
  if (response.ok) return response.json();
  const text = await response.text();
  const seconds = Number(response.headers.get("Retry-After")) || null;
  throw new Refusal(reason(text) ?? `The server answered ${response.status}.`, seconds);
}

function reason(text) {
  try {
    const { error } = JSON.parse(text);
    return error && `${error[0].toUpperCase()}${error.slice(1)}.`;
  } catch {
    return null;
  }
}
