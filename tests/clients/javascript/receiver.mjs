// A receiver of webhooks that remembers what it got, and answers as it is told to.

import { createServer } from "node:http";

export const PATIENCE_MS = 20_000;

export class Receiver {
  #received = [];
  #failing = new Set();
  #server;

  static async start() {
    const receiver = new Receiver();
    receiver.#server = createServer(async (request, response) => {
      const parts = [];
      for await (const part of request) parts.push(part);
      const fails = receiver.#failing.has(request.url);
      receiver.#received.push({ path: request.url, headers: request.headers, body: Buffer.concat(parts) });
      response.writeHead(fails ? 500 : 200).end(fails ? "not today" : "thank you");
    });
    await new Promise((listening) => receiver.#server.listen(0, "127.0.0.1", listening));
    return receiver;
  }

  url(path) {
    return `http://127.0.0.1:${this.#server.address().port}${path}`;
  }

  fail(path, fails) {
    fails ? this.#failing.add(path) : this.#failing.delete(path);
  }

  /** What came to this path, once it is so much. */
  async waitFor(path, count) {
    const here = () => this.#received.filter((one) => one.path === path);
    return await until(`${count} requests to ${path}`, here, (found) => found.length >= count);
  }

  stop() {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** Reads until it is as it should be. */
export async function until(what, read, isSo) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await read();
    if (isSo(found)) return found;
    if (Date.now() > end) throw new Error(`${what}: still ${JSON.stringify(found)}`);
    await new Promise((later) => setTimeout(later, 20));
  }
}
