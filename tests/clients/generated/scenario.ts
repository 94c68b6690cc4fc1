// A client with the types that openapi-typescript makes of the document: what it says must compile, and be so.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Message = components["schemas"]["MessageIn"];

const { SERVER_URL, SERVER_TOKEN } = process.env;
const client = createClient<paths>({ baseUrl: SERVER_URL, headers: { Authorization: `Bearer ${SERVER_TOKEN}` } });

function same(what: string, found: unknown, wanted: unknown) {
  const [one, other] = [found, wanted].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${what}: ${one}, not ${other}`);
}

const made = await client.POST("/api/v1/app", { body: { name: "Generated", uid: "ts" } });
same("an application", [made.response.status, made.data?.name], [201, "Generated"]);
const of = { app_id: "ts" };
const endpoint = await client.POST("/api/v1/app/{app_id}/endpoint", {
  params: { path: of },
  body: { url: "http://127.0.0.1:9/", uid: "hook", disabled: true, metadata: { team: "billing" } },
});
same("an endpoint", [endpoint.response.status, endpoint.data?.url], [201, "http://127.0.0.1:9/"]);
const body: Message = { eventType: "invoice.paid", payload: { invoice: 7, lines: [{ sum: 1.5 }] }, channels: ["eu"] };
const sent = await client.POST("/api/v1/app/{app_id}/msg", { params: { path: of, query: { with_content: true } }, body });
same("a message", [sent.response.status, sent.data?.payload], [202, { invoice: 7, lines: [{ sum: 1.5 }] }]);
const listed = await client.GET("/api/v1/app/{app_id}/msg", { params: { path: of, query: { limit: 10, channel: "eu" } } });
same("messages", listed.data?.data.map((one) => [one.id, one.eventType]), [[sent.data?.id, "invoice.paid"]]);
const endpoints = await client.GET("/api/v1/app/{app_id}/endpoint", { params: { path: of } });
same("endpoints", endpoints.data?.data.map((one) => [one.uid, one.disabled]), [["hook", true]]);
const refused = await client.POST("/api/v1/app", { body: { name: "Generated", uid: "ts" } });
same("taken", [refused.response.status, refused.error !== undefined], [409, true]);
console.log("generated typescript: ok");
