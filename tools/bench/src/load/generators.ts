// Load generators by others: wrk, h2load, openssl s_time. What to call, and what their output says.
import { spawn } from 'node:child_process';

/** Requests that were answered well, and in which time. */
export type Load = { readonly count: number; readonly elapsedMs: number };

const SLACK_MS = 30_000;

/** wrk: HTTP/1.1 keep-alive on so many connections for so long. **Throws** when any answer was not 2xx or 3xx, or none came. */
export async function wrk(path: string, options: { readonly port: number; readonly connections: number; readonly seconds: number }): Promise<Load> {
  const { port, connections, seconds } = options;
  const output = await outputOf(path, ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, `http://127.0.0.1:${port}/small`], seconds * 1_000);
  return wrkLoad(output);
}

/** What wrk's summary says. */
export function wrkLoad(output: string): Load {
  const [, count = '0', time = '0', unit = 's'] = /(\d+) requests in ([\d.]+)(ms|s|m)/.exec(output) ?? [];
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1];
  const broken = /Socket errors: (.*)/.exec(output)?.[1];
  if (Number(count) === 0) throw new Error('wrk got no answer');
  if (bad !== undefined || broken !== undefined) throw new Error(`wrk got ${count} answers, ${bad ?? 'none'} of them bad; socket errors: ${broken ?? 'none'}`);
  return { count: Number(count), elapsedMs: Number(time) * (unit === 'm' ? 60_000 : unit === 's' ? 1_000 : 1) };
}

/** h2load: so many requests in cleartext HTTP/2. `data` names a file to POST, as gRPC does. **Throws** when any failed. */
export async function h2load(path: string, options: { readonly port: number; readonly uri: string; readonly requests: number; readonly connections: number; readonly streams: number; readonly data?: string }): Promise<Load> {
  const { port, uri, requests, connections, streams, data } = options;
  const grpc = data === undefined ? [] : ['-d', data, '-H', 'content-type: application/grpc', '-H', 'te: trailers'];
  const args = ['-n', String(requests), '-c', String(connections), '-m', String(streams), '-t', '1', ...grpc, `http://127.0.0.1:${port}${uri}`];
  return h2loadLoad(await outputOf(path, args, 300_000));
}

/** What h2load's summary says. */
export function h2loadLoad(output: string): Load {
  const [, time = '0', unit = 's'] = /finished in ([\d.]+)(us|ms|s|m)\b/.exec(output) ?? [];
  const [, total = '0', succeeded = '0'] = /requests: (\d+) total, .* (\d+) succeeded/.exec(output) ?? [];
  const [, good = '0'] = /status codes: (\d+) 2xx/.exec(output) ?? [];
  if (Number(total) === 0 || succeeded !== total || good !== total) throw new Error(`h2load: of ${total} requests ${succeeded} succeeded, ${good} with 2xx`);
  return { count: Number(total), elapsedMs: Number(time) * { us: 0.001, ms: 1, s: 1_000, m: 60_000 }[unit as 'us' | 'ms' | 's' | 'm'] };
}

/** openssl s_time: full TLS 1.3 handshakes with a client certificate, one after the other, in `clients` processes for so long. */
export async function handshakes(path: string, options: { readonly port: number; readonly certFile: string; readonly keyFile: string; readonly caFile: string; readonly seconds: number; readonly clients: number }): Promise<Load> {
  const { port, certFile, keyFile, caFile, seconds, clients } = options;
  const args = ['s_time', '-new', '-connect', `127.0.0.1:${port}`, '-cert', certFile, '-key', keyFile, '-CAfile', caFile, '-verify', '4', '-time', String(seconds)];
  const loads = await Promise.all(Array.from({ length: clients }, async () => sTimeLoad(await outputOf(path, args, seconds * 1_000))));
  return { count: loads.reduce((sum, load) => sum + load.count, 0), elapsedMs: Math.max(...loads.map((load) => load.elapsedMs)) };
}

/** What `openssl s_time` says at the end. */
export function sTimeLoad(output: string): Load {
  const [, count = '0', seconds = '0'] = /(\d+) connections in (\d+) real seconds/.exec(output) ?? [];
  if (Number(count) === 0) throw new Error(`openssl s_time made no connection:\n${output.slice(-500)}`);
  return { count: Number(count), elapsedMs: Number(seconds) * 1_000 };
}

function outputOf(path: string, args: readonly string[], expectedMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: expectedMs + SLACK_MS, killSignal: 'SIGKILL' });
    const onExit = (): void => void child.kill('SIGKILL');
    process.once('exit', onExit);
    let output = '';
    const keep = (chunk: Buffer): void => void (output += chunk.toString());
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      process.off('exit', onExit);
      if (code === 0) resolve(output);
      else reject(new Error(`${path} ended with ${signal ?? code}:\n${output.slice(-500)}`));
    });
  });
}
