// One thing after another: changes to a state that must not interleave.

/** Runs each task after the one before it has ended, however that ended; answers as the task does. */
export function openSerial(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const run = last.then(task, task);
    last = run.catch(() => undefined);
    return run;
  };
}
