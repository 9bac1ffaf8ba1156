// The docker command, for the set that `run` built.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs docker and gives what it printed; rejects with its words when it fails. */
export async function docker(...args) {
  try {
    const { stdout } = await run("docker", args, { maxBuffer: 64 << 20, timeout: 300_000 });
    return stdout.trim();
  } catch ({ code, signal, stderr }) {
    throw new Error(`docker ${args.join(" ")}: ${signal ?? code}\n${stderr.slice(-2000)}`);
  }
}

export const compose = (...args) => docker("compose", ...args);

/** All containers of the set, also ended ones, as `docker inspect` tells them. */
export async function containers(...services) {
  const ids = (await compose("ps", "--all", "--quiet", ...services)).split("\n").filter(Boolean);
  return ids.length ? JSON.parse(await docker("inspect", ...ids)) : [];
}

export const serviceOf = (container) => container.Config.Labels["com.docker.compose.service"];
export const nameOf = (container) => container.Name.slice(1);

/** Starts the set and waits until every container is healthy. */
export async function up(...args) {
  try {
    await compose("up", "--no-build", "--detach", "--wait", "--wait-timeout", "180", ...args);
  } catch (error) {
    error.message += `\n${await compose("ps", "--all")}\n${await compose("logs", "--tail", "30")}`;
    throw error;
  }
}
