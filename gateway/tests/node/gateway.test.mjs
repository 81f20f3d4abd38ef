// The official openai SDK for Node, unchanged, against a gateway at $GATEWAY_URL in front of the echo upstream.
// ../test_openai_node.py starts both and runs this file.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { APIConnectionTimeoutError, AuthenticationError, BadRequestError, RateLimitError } from "openai";

const client = new OpenAI({ baseURL: process.env.GATEWAY_URL, apiKey: "sk-caller", maxRetries: 0, timeout: 20_000 });
const model = "router-fake-0.5";
const hard = [{ role: "user", content: "a hard one, with é and 😀" }];
const easy = [{ role: "user", content: "an easy one" }];
const tool = (name) => ({
  type: "function",
  function: { name, parameters: { type: "object", properties: { city: { type: "string" } } } },
});

async function stats() {
  return (await fetch(`${process.env.ECHO_URL}/echo/stats`)).json();
}

async function eventually(condition, what) {
  for (const start = Date.now(); Date.now() - start < 20_000; ) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`not within 20 s: ${what}`);
}

test("a plain call", async () => {
  const answer = await client.chat.completions.create({ model, messages: hard, some_new_field: { a: 1 } });
  assert.equal(answer.model, "big");
  assert.ok(answer.choices[0].message.content.endsWith(hard[0].content));
  assert.ok(answer.usage.total_tokens > 0);
});

test("the decision is in the headers", async () => {
  const { data, response } = await client.chat.completions.create({ model, messages: easy }).withResponse();
  assert.equal(data.model, "small");
  assert.equal(response.headers.get("x-routing-model"), "small");
  assert.equal(response.headers.get("x-routing-win-rate"), "0.1");
});

test("a stream", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: hard,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.ok(text.endsWith(hard[0].content));
  assert.ok(usage.completion_tokens > 0);
});

test("tools", async () => {
  const messages = [{ role: "user", content: "weather and clock, please" }];
  const answer = await client.chat.completions.create({ model, messages, tools: [tool("weather"), tool("clock")] });
  const calls = answer.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((call) => call.function.name), ["weather", "clock"]);
  messages.push(answer.choices[0].message);
  for (const call of calls) messages.push({ role: "tool", tool_call_id: call.id, content: "fine" });
  const last = await client.chat.completions.create({ model, messages });
  assert.ok(last.choices[0].message.content.endsWith("fine"));
});

test("many at once", async () => {
  const ask = async (number) => {
    const content = `${number % 2 ? "hard" : "easy"} ${number}`;
    const answer = await client.chat.completions.create({ model, messages: [{ role: "user", content }] });
    assert.equal(answer.model, number % 2 ? "big" : "small");
    assert.ok(answer.choices[0].message.content.endsWith(content));
  };
  await Promise.all(Array.from({ length: 100 }, (_, number) => ask(number)));
});

test("models and embeddings", async () => {
  const names = (await client.models.list()).data.map((each) => each.id);
  assert.deepEqual(names, ["router-cheap", "router-fake", "big", "small"]);
  assert.ok((await client.embeddings.create({ model: "emb", input: "x" })).data[0].embedding.length > 0);
});

test("errors", async () => {
  const ask = (name) => client.chat.completions.create({ model: name, messages: easy });
  await assert.rejects(ask("router-fake-7"), (error) => error instanceof BadRequestError && error.code === "invalid_model");
  await assert.rejects(ask("big#status=401"), AuthenticationError);
  await assert.rejects(ask("big#status=429"), RateLimitError);
  await assert.rejects(
    client.chat.completions.create({ model: "big#hang", messages: easy }, { timeout: 200 }),
    APIConnectionTimeoutError,
  );
});

test("a caller that leaves in mid-stream ends the upstream's call", async () => {
  await eventually(async () => (await stats()).open === 0, "earlier calls are over");
  const before = (await stats()).aborted;
  const stream = await client.chat.completions.create({ model: "big#endless,pace=0.01", messages: easy, stream: true });
  let count = 0;
  for await (const _chunk of stream) {
    count += 1;
    if (count === 5) break;
  }
  await eventually(async () => (await stats()).aborted === before + 1, "the upstream notices");
});

test("a stream that breaks is an error", async () => {
  const stream = await client.chat.completions.create({ model: "big#broken=3", messages: easy, stream: true });
  await assert.rejects(async () => {
    for await (const _chunk of stream);
  });
});
