// What a scenario asserts, in words.

import { isDeepStrictEqual } from "node:util";
import { ApiException, Webhook, WebhookVerificationError } from "svix";

export function same(what, found, wanted) {
  if (!isDeepStrictEqual(found, wanted)) {
    throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }
}

async function refused(what, call) {
  let found;
  try {
    found = await call();
  } catch (error) {
    if (error instanceof ApiException) return error;
    throw error;
  }
  throw new Error(`${what}: ${JSON.stringify(found)}, not an error`);
}

export async function fails(what, call, status, code) {
  const error = await refused(what, call);
  same(what, [error.code, error.body.code], [status, code]);
}

export async function invalid(what, call, loc) {
  const error = await refused(what, call);
  same(what, [error.code, error.body.detail?.map((wrong) => wrong.loc)], [422, [loc]]);
}

/** Walks over a list to its end, two at a time. */
export async function allOf(list, options = {}) {
  const found = [];
  for (let iterator; ; ) {
    const page = await list({ limit: 2, iterator, ...options });
    found.push(...page.data);
    if (page.done) return found;
    iterator = page.iterator;
  }
}

export const of = (name) => (one) => one[name];
/** Lists are by id; ids of the same 4 ms have no order, as Svix's have none. */
export const uidsById = (all) => all.toSorted((one, other) => (one.id < other.id ? -1 : 1)).map(of("uid"));

export function verify(received, secret) {
  const webhook = new Webhook(secret);
  webhook.verify(received.body, received.headers);
  try {
    webhook.verify(`${received.body} `, received.headers);
  } catch (error) {
    if (error instanceof WebhookVerificationError) return;
    throw error;
  }
  throw new Error("another body was verified");
}
