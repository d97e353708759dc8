// Tinypool, which Vitest used, with child processes, as a pool of one.
'use strict';

const {pathToFileURL} = require('node:url');
const {handle, main, orphan} = require('./common.js');

// concurrent is how many calls a worker gets at once. The default of 1 is for
// tasks that keep a worker's thread.
const concurrent = 64;

async function start() {
  const {Tinypool} = await import('tinypool');
  const pool = new Tinypool({
    runtime: 'child_process',
    filename: pathToFileURL(__filename).href,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: concurrent,
    serialization: 'advanced',
  });
  return {
    pid: await pool.run(['pid']),
    call: (op, payload) => pool.run([op, payload]),
    close: () => pool.destroy(),
  };
}

// What the worker process finds here.
module.exports = ([op, payload]) => handle(op, payload);

if (require.main === module) {
  main({
    name: 'tinypool',
    config: `child processes, a pool of one worker with up to ${concurrent} calls at once, serialization 'advanced', bulk as 4 messages of up to 1 MiB in flight`,
    orphan,
    version: `, tinypool ${require('tinypool/package.json').version}`,
    start,
  });
}
