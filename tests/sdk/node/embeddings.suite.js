// openai-node: embeddings in both encodings.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import OpenAI from "openai";

const MODEL = "text-embedding-3-small";

const client = new OpenAI();

test("both encodings have the same vectors", async () => {
  const input = [`A text, ${randomUUID()}`, "Another text"];

  const floats = await client.embeddings.create({ model: MODEL, input, encoding_format: "float" });
  const decoded = await client.embeddings.create({ model: MODEL, input });

  assert.deepEqual(
    floats.data.map(({ index }) => index),
    [0, 1],
  );
  const single = ({ embedding }) => [...Float32Array.from(embedding)];
  assert.deepEqual(decoded.data.map(single), floats.data.map(single));
});
