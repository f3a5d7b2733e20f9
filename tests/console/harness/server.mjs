// Servers of a test's own, from the binary under test.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Starts `weir serve` on a folder (default: an empty one) and a port (default: a free one). */
export async function start({ options = [], port = 0, data } = {}) {
  const own = data ?? mkdtempSync(join(tmpdir(), "weir-console-"));
  const child = spawn(
    process.env.WEIR_BINARY,
    ["serve", "--listen", `127.0.0.1:${port}`, "--data", own, ...options],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, WEIR_LOG: "warn" } },
  );
  const gone = new Promise((done) => child.once("exit", done));
  // If this process ends in whatever way, so does the server.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const url = await new Promise((done, fail) => {
    const said = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const found = / on (http:\/\/\S+)/.exec(line);
      if (found) done(found[1]);
    });
    child.once("exit", () => fail(new Error(`the server ended: ${said.join("\n")}`)));
  });
  return {
    url,
    port: Number(new URL(url).port),
    data: own,
    /** Clock ticks that it has spent on processors, in its own code and in the kernel (proc_pid_stat(5)). */
    spent() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
      return Number(fields[11]) + Number(fields[12]);
    },
    /** kill -9; the folder stays. */
    async kill() {
      kill();
      await gone;
      process.off("exit", kill);
    },
    async end() {
      await this.kill();
      if (data === undefined) rmSync(own, { recursive: true, force: true });
    },
  };
}
