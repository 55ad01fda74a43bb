// A gateway of a running federation, started anew the way a test wants it: under a limit, or with other output.
import { readFileSync, writeFileSync } from 'node:fs';
import { appMain, type Federation, names, portNames, type TestFederation, waitFor } from '@isthmus/harness';

export type Respawn = {
  readonly cluster: string;
  /** A shell command that runs `"$@"`, such as `ulimit -n 300 && exec "$@"`. */
  readonly shell: string;
  /** Lines of YAML put at the end of its configuration. */
  readonly config?: string;
};

/** Stops the cluster's gateway and starts it by a shell command; resolves when it is ready. Its name stays. */
export async function respawnGateway(mesh: TestFederation, { cluster, shell, config = '' }: Respawn): Promise<{ readonly pid: number }> {
  const name = names.gateway(cluster);
  const { federation, supervisor, paths } = mesh;
  await supervisor.stop(name);
  const file = `${paths.config(name)}.own.yaml`;
  writeFileSync(file, `${readFileSync(paths.config(name), 'utf8')}${config}`, { mode: 0o600 });
  const started = supervisor.start({
    name,
    command: 'sh',
    args: ['-c', shell, 'sh', process.execPath, appMain('gateway'), '--config', file],
    logFile: paths.log(name),
    isReady: (line) => line.includes('respawned'),
    readyLimitMs: 40_000,
  });
  // Its output may go elsewhere: readiness is asked for, and said by the shell's own line.
  await Promise.all([started, waitFor(`${name} to be ready`, 40_000, () => isReady(federation, name))]);
  return { pid: (await started).pid };
}

/** Whether a process says that it is ready, and else why not. */
export async function readiness(federation: Federation, name: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${federation.port(portNames.health(name))}/readyz`, { signal: AbortSignal.timeout(5_000) });
  return (await response.text()).trim();
}

async function isReady(federation: Federation, name: string): Promise<true | undefined> {
  return (await readiness(federation, name)) === 'ready' ? true : undefined;
}

/** Everything a process counts, as its metrics page. */
export async function metricsOf(federation: Federation, name: string): Promise<string> {
  return (await fetch(`http://127.0.0.1:${federation.port(portNames.health(name))}/metrics`, { signal: AbortSignal.timeout(10_000) })).text();
}
