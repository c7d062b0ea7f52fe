// Runs one measurement against graphile-worker and prints one line of JSON.
//
// node drain.mjs CONNECTION JOBS CONNECTIONS CONCURRENCY BATCH
//
// BATCH jobs are fetched ahead and completed together; 0 is the default way, one by one. Times are
// in milliseconds: `enqueue_ms` for putting all jobs in, a thousand in a call; `drain_ms` from the
// start of the worker until all were run, acknowledged by the database and the worker had stopped;
// `latency_us` for jobs put in singly while the worker idles, until their handler begins.

import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";

const [connectionString, ...numbers] = process.argv.slice(2);
const [jobs, connections, concurrency, batch] = numbers.map(Number);
const now = () => Number(process.hrtime.bigint()) / 1e6;
const logger = new Logger(() => () => {});

const preset = {
  worker: {
    connectionString,
    maxPoolSize: connections,
    concurrentJobs: concurrency,
    pollInterval: 2000,
    logger,
    ...(batch > 0
      ? { localQueue: { size: batch }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
      : {}),
  },
};

await runMigrations({ preset });
const utils = await makeWorkerUtils({ preset });

let begin = now();
for (let from = 0; from < jobs; from += 1000) {
  const count = Math.min(1000, jobs - from);
  const specs = Array.from({ length: count }, (_, n) => ({
    identifier: "noop",
    payload: { n: from + n },
  }));
  await utils.addJobs(specs);
}
const enqueue_ms = now() - begin;

let left = jobs;
let drained;
const all = new Promise((resolve) => (drained = resolve));
let started = () => {};
const taskList = {
  noop: async () => {
    if (--left === 0) drained();
  },
  ping: async () => started(now()),
};

begin = now();
let runner = await run({ preset, taskList });
if (jobs > 0) await all;
await runner.stop();
const drain_ms = now() - begin;

runner = await run({ preset, taskList });
const latency_us = [];
for (let n = 0; n < 300; n++) {
  const ran = new Promise((resolve) => (started = resolve));
  const put = now();
  await utils.addJob("ping", { n });
  latency_us.push(((await ran) - put) * 1000);
}
await runner.stop();
await utils.release();
console.log(JSON.stringify({ enqueue_ms, drain_ms, latency_us }));
