// The embedded etcd v3 server: the same API over one SQLite file, for a laptop, a test, or a cluster of one control plane.
import { isIP } from 'node:net';
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { Server, ServerCredentials } from '../grpc.ts';
import { Applier } from './apply.ts';
import { MAX_REQUEST_BYTES } from './check.ts';
import { openDatabase } from './file.ts';
import { Lessor } from './lessor.ts';
import { Mvcc } from './mvcc.ts';
import { addServices } from './services.ts';
import { WatchHub } from './watch-hub.ts';
import { WriteQueue } from './write-queue.ts';

export interface EmbeddedStoreOptions {
  /** The SQLite file; made if it is not there, 0600. */
  readonly path: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** PEM; client certificates signed by `ca` are required. Without it the server listens on loopback only. */
  readonly tls?: { readonly ca: string | Buffer; readonly cert: string | Buffer; readonly key: string | Buffer };
  readonly log: Log;
  readonly clock: Clock;
  /** Revisions kept for watches and reads of the past. 10,000. */
  readonly keepRevisions?: number;
}

export interface EmbeddedStore {
  readonly port: number;
  /** Stops answering and closes the file; idempotent. */
  close(): Promise<void>;
}

const LEASE_CHECK_MS = 500;
const PROGRESS_NOTIFY_MS = 10 * 60_000;
const COMPACT_CHECK_MS = 10_000;
const CLOSE_LIMIT_MS = 1000;

/**
 * Opens the file and serves etcd's KV, Watch, Lease, Maintenance (Status, Alarm) and Auth (refused) on it.
 * A write is answered once it is on disk (WAL, synchronous=FULL). Writes are serial and block the event loop for one fsync a turn.
 * **Throws** STORE_FILE_CORRUPT, STORE_FILE_UNUSABLE, STORE_LISTEN.
 */
export async function startEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  const { listen, log, clock } = options;
  if (options.tls === undefined && !isLoopback(listen.host)) {
    throw fail('STORE_LISTEN', `the store does not listen on ${listen.host} without TLS`, { hint: 'Give it certificates, or listen on 127.0.0.1.' });
  }
  const mvcc = new Mvcc(openDatabase(options.path));
  const lessor = new Lessor(mvcc, () => clock.monotonicMs());
  const applier = new Applier(mvcc, lessor);
  const hub = new WatchHub(mvcc, (revision) => applier.header(revision));
  const queue = new WriteQueue(mvcc, lessor, (changes) => hub.publish(changes), log);
  const server = new Server({
    // As etcd: a request is measured by us; grpc's own limit is a little higher.
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES + 512 * 1024,
    'grpc.max_send_message_length': -1,
  });
  addServices(server, { mvcc, lessor, applier, hub, queue });

  const timers: { cancel(): void }[] = [];
  const every = (ms: number, fn: () => void): void => {
    const slot = timers.length;
    const arm = (): void => {
      timers[slot] = clock.setTimer(ms, () => {
        arm();
        fn();
      });
    };
    arm();
  };

  let port: number;
  try {
    port = await bind(server, listen, options.tls);
  } catch (error) {
    mvcc.close();
    throw fail('STORE_LISTEN', `the store cannot listen on ${listen.host}:${listen.port}: ${messageOf(error)}`, { cause: error });
  }
  every(LEASE_CHECK_MS, () => {
    for (const id of lessor.expired()) {
      queue
        .run(() => {
          // It may have been kept alive or revoked since it was found.
          if (lessor.expired().includes(id)) applier.revoke({ ID: id });
        })
        .catch((error: unknown) => log.warn('lease could not be ended', { error: messageOf(error) }));
    }
  });
  every(PROGRESS_NOTIFY_MS, () => hub.notifyProgress());
  every(COMPACT_CHECK_MS, () => {
    const target = mvcc.revision - BigInt(options.keepRevisions ?? 10_000);
    if (target <= mvcc.compactedRevision) return;
    queue
      .run(() => mvcc.compact(target))
      .catch((error: unknown) => log.warn('old revisions could not be compacted', { error: messageOf(error) }));
  });

  let closing: Promise<void> | undefined;
  return {
    port,
    close: () => {
      closing ??= (async () => {
        for (const timer of timers) timer.cancel();
        queue.close();
        await new Promise<void>((resolve) => {
          const limit = clock.setTimer(CLOSE_LIMIT_MS, () => {
            server.forceShutdown();
            resolve();
          });
          // Watch streams never end by themselves: cut everything.
          server.forceShutdown();
          limit.cancel();
          resolve();
        });
        mvcc.close();
      })();
      return closing;
    },
  };
}

function bind(server: Server, listen: EmbeddedStoreOptions['listen'], tls: EmbeddedStoreOptions['tls']): Promise<number> {
  const pem = (text: string | Buffer): Buffer => Buffer.from(text);
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(pem(tls.ca), [{ private_key: pem(tls.key), cert_chain: pem(tls.cert) }], true);
  const host = isIP(listen.host) === 6 ? `[${listen.host}]` : listen.host;
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${listen.port}`, credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
