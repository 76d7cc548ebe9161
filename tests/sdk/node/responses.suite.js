// openai-node: responses, held, in the background and streamed.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import OpenAI from "openai";

import { callsOf } from "./model.js";

const MODEL = "gpt-5-mini";
const SHORT_HOPS = { headers: { Prefer: "wait=1" } };
const UNFINISHED = ["queued", "in_progress"];

const client = new OpenAI();
const unique = () => `A joke about plants, ${randomUUID()}`;

test("a response is redirected until its answer is there, and paid once", async () => {
  const input = `${unique()}[[latency:1.3]]`;

  const response = await client.responses.create({ model: MODEL, input }, SHORT_HOPS);

  assert.equal(response.status, "completed");
  assert.ok(response.output_text);
  assert.equal(await callsOf(input), 1);
});

test("a response in the background is polled", async () => {
  let response = await client.responses.create({ model: MODEL, input: unique(), background: true });
  assert.ok(UNFINISHED.includes(response.status));

  while (UNFINISHED.includes(response.status)) {
    response = await client.responses.retrieve(response.id, {}, SHORT_HOPS);
  }

  assert.equal(response.status, "completed");
});

test("a stream is a replay of the response", async () => {
  const stream = client.responses.stream({ model: MODEL, input: unique() });
  let text = "";
  stream.on("response.output_text.delta", ({ delta }) => (text += delta));

  const response = await stream.finalResponse();

  assert.ok(text);
  assert.equal(response.output_text, text);
});
