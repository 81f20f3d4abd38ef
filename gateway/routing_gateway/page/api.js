// The gateway's HTTP interface. What fails is an ApiError, whose message is for people.

export class ApiError extends Error {
  // kind: "network" (no answer at all), "http" (an error status), "format" (not what an API answers), "broken" (the
  // stream ended before its end) or "stream" (an error inside the stream). routing: what the headers said, if any came.
  constructor(kind, message, { status = 0, code = "", routing = null } = {}) {
    super(message);
    Object.assign(this, { kind, status, code, routing });
  }
}

export const getRouters = (signal) => askJson("api/routers", { signal });

export const decide = (body, signal) =>
  askJson("api/decide", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

// Streams a chat completion. on.routing gets what the headers say of the decision, on.text each piece of the answer. Gives
// {usage, finish} at its end.
export async function chat({ model, messages, key, signal }, on) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  const body = JSON.stringify({ model, messages, stream: true, stream_options: { include_usage: true } });
  const response = await ask("v1/chat/completions", { method: "POST", headers, body, signal });
  const routing = routingOf(response.headers);
  if (!response.ok) throw await httpError(response, routing);
  on.routing(routing);
  try {
    const type = response.headers.get("content-type") ?? "";
    if (type.startsWith("text/event-stream")) return await readStream(response, on);
    if (type.startsWith("application/json")) return readWhole(await response.json(), on);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const known = error instanceof ApiError ? error : new ApiError("format", "The model's answer cannot be read.");
    throw Object.assign(known, { routing });
  }
  throw new ApiError("format", "The model's server answered with something that is no completion.", { routing });
}

function routingOf(headers) {
  const get = (name) => unescaped(headers.get(`x-routing-${name}`));
  const number = (name) => (get(name) === null ? null : Number(get(name)));
  return {
    model: get("model"),
    tier: get("tier"),
    winRate: number("win-rate"),
    threshold: number("threshold"),
    router: get("router"),
    decisionId: get("decision-id"),
    fallback: get("fallback"),
    failover: get("failover"),
  };
}

// Headers are ASCII: the gateway writes other characters, and the backslash, as Python does.
const ESCAPE = /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|\\)/g;
const unescaped = (text) => text?.replace(ESCAPE, (_all, ...codes) => {
  const code = codes.slice(0, 3).find(Boolean);
  return code ? String.fromCodePoint(parseInt(code, 16)) : "\\";
}) ?? null;

async function ask(url, options) {
  try {
    return await fetch(url, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("network", "The gateway does not answer. Is it still running?");
  }
}

async function askJson(url, options) {
  const response = await ask(url, options);
  if (!response.ok) throw await httpError(response);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("format", "The gateway's answer cannot be read.");
  }
}

async function httpError(response, routing = null) {
  let said = {};
  try {
    said = (await response.json()) ?? {};
  } catch {
    // No JSON: the status alone has to do.
  }
  // OpenAI's form, and those of servers that are less close to it: {"error": "…"}, {"message": "…"}, {"detail": "…"}.
  const found = [said.error?.message, said.error, said.message, said.detail].find((text) => typeof text === "string" && text);
  const message = found ?? `status ${response.status}, without a reason`;
  return new ApiError("http", message, { status: response.status, code: said.error?.code ?? "", routing });
}

function readWhole(completion, on) {
  const choice = completion.choices?.[0];
  if (!choice) throw new ApiError("format", "The model's server answered without a completion.");
  on.text(choice.message?.content ?? "");
  return { usage: completion.usage ?? null, finish: choice.finish_reason ?? null };
}

async function readStream(response, on) {
  const result = { usage: null, finish: null };
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return result;
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      throw new ApiError("format", "The model's server sent a piece that is not JSON.");
    }
    if (chunk.error) throw new ApiError("stream", chunk.error.message ?? "The model's server failed in mid-answer.");
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) on.text(choice.delta.content);
    if (choice?.finish_reason) result.finish = choice.finish_reason;
    if (chunk.usage) result.usage = chunk.usage;
  }
  // Some servers leave [DONE] out; one that has said why it finished has finished.
  if (result.finish) return result;
  throw new ApiError("broken", "The answer broke off.");
}

// The data of each server-sent event, however the bytes are cut.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await read(reader);
      if (done) break;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
    if (rest.startsWith("data:")) data.push(rest.slice(5).trimStart());
    if (data.length) yield data.join("\n");
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("broken", "The answer broke off: the connection was lost.");
  }
}
