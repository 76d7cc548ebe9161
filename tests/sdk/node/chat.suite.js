// openai-node: chat completions, models and errors.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { callsOf } from "./model.js";

const MODEL = "gpt-5-mini";
// Each hop of a held call takes a second at most; the model takes longer than one of them.
const SHORT_HOPS = { headers: { Prefer: "wait=1" } };
const HELD = "[[latency:1.3]]";

const client = new OpenAI();
const unique = () => `A joke about plants, ${randomUUID()}`;
const say = (content) => [{ role: "user", content }];

test("a call is redirected until its answer is there, and paid once", async () => {
  const prompt = unique() + HELD;

  const { data, request_id: requestId } = await client.chat.completions
    .create({ model: MODEL, messages: say(prompt) }, SHORT_HOPS)
    .withResponse();

  assert.ok(data.choices[0].message.content);
  assert.ok(data.usage.total_tokens > 0);
  assert.ok(requestId);
  assert.equal(await callsOf(prompt), 1);
});

test("a stream is a replay of the answer", async () => {
  const request = { model: MODEL, messages: say(unique()) };
  const whole = await client.chat.completions.create(request);

  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);

  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
});

test("a structured output is parsed", async () => {
  const joke = z.object({ setup: z.string(), punchline: z.string() });

  const completion = await client.chat.completions.parse({
    model: MODEL,
    messages: say(unique()),
    response_format: zodResponseFormat(joke, "joke"),
  });

  assert.doesNotThrow(() => joke.parse(completion.choices[0].message.parsed));
});

test("a tool is called and its result is used", async () => {
  const told = [];
  const tell = {
    name: "tell",
    description: "Tell a joke about a topic.",
    parameters: { type: "object", properties: { topic: { type: "string" } }, required: ["topic"] },
    parse: JSON.parse,
    function: ({ topic }) => {
      told.push(topic);
      return `A joke about ${topic}`;
    },
  };

  const runner = client.chat.completions.runTools({
    model: MODEL,
    messages: say(unique()),
    tools: [{ type: "function", function: tell }],
    tool_choice: { type: "function", function: { name: "tell" } },
  });
  await runner.done();

  assert.equal(told.length, 1);
});

test("a completion is stored", async () => {
  const completion = await client.chat.completions.create({ model: MODEL, messages: say(unique()) });

  assert.deepEqual(await client.chat.completions.retrieve(completion.id), completion);
});

test("models are listed", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);

  assert.ok(names.includes(MODEL));
});

test("each failure has its class, with the parameter and the code", async () => {
  const create = (change, of = client) =>
    of.chat.completions.create({ model: MODEL, messages: say("Hello"), ...change });

  await assert.rejects(create({ temperature: 3 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.param, error.code], ["temperature", "invalid_value"]);
    return true;
  });
  await assert.rejects(create({ messages: say("[[fault:quota]]") }), OpenAI.RateLimitError);
  await assert.rejects(create({}, new OpenAI({ apiKey: "wrong" })), OpenAI.AuthenticationError);
  await assert.rejects(client.chat.completions.retrieve("chatcmpl-none"), OpenAI.NotFoundError);
});
