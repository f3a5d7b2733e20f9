// A stand-in for the server: the committed bundle under the server's own policy of contents, and generated answers.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { pods, shop } from "./generate.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = join(here, "../../../query/console/dist");
const source = readFileSync(join(here, "../../../query/src/console.rs"), "utf8");
const policy = /const POLICY: &str = "([^"]*)"/.exec(source)[1].replace(/\\\s+/g, "");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** Starts it on loopback with one map, or with the shop. */
export async function serve(map = null) {
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    const success = (data) => {
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify({ status: "success", data }));
    };
    if (url.pathname === "/api/v1/service-map") {
      return success(map ?? shop(url.searchParams.getAll("expand")));
    }
    if (url.pathname === "/api/v1/flows") return success(pods());
    if (url.pathname === "/api/v1/query_range") return success({ resultType: "matrix", result: [] });
    if (url.pathname.startsWith("/api/")) return success([]);
    const asset = extname(url.pathname) === "" ? "/index.html" : normalize(url.pathname);
    try {
      const body = readFileSync(join(dist, asset));
      response.setHeader("Content-Type", TYPES[extname(asset)] ?? "application/octet-stream");
      response.setHeader("Content-Security-Policy", policy);
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, end: () => server.close() };
}
