// The cluster store of this control plane: the embedded server inside this process, or an etcd cluster elsewhere.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { holdFormat, makeStoreTls, openStore, type OpenStoreOptions, startEmbeddedStore, type Store } from '@isthmus/store';
import { type Clock, readPrivateFile } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Config } from './config.ts';

/** A store with the endpoints and credentials it was reached by, which the peers' door needs as well. */
export type ClusterStore = {
  readonly store: Store;
  readonly endpoints: readonly string[];
  readonly tls: OpenStoreOptions['tls'];
  readonly auth: OpenStoreOptions['auth'];
  readonly close: () => Promise<void>;
};

/** Opens the store the configuration names; starts the embedded server first where that is the one. */
export async function openClusterStore(config: Config, parts: { readonly log: Log; readonly metrics: Metrics; readonly clock: Clock }): Promise<ClusterStore> {
  if (config.store.kind === 'etcd') {
    const { endpoints } = config.store;
    const tls = await readTls(config);
    const auth = await readAuth(config);
    const store = await openStore({ endpoints, ...(tls && { tls }), ...(auth && { auth }), ...parts });
    const close = await keepFormat(store, parts, () => store.close());
    return { store, endpoints, tls, auth, close };
  }
  const files = await makeStoreTls(join(config.stateDir, 'store-tls'), { nowMs: parts.clock.nowMs() });
  const [ca, serverCert, serverKey, cert, key] = await Promise.all(
    [files.caFile, files.serverCertFile, files.serverKeyFile, files.clientCertFile, files.clientKeyFile].map((path) => readPrivateFile(path)),
  );
  if (!ca || !serverCert || !serverKey || !cert || !key) throw new TypeError('makeStoreTls names five files');
  const server = await startEmbeddedStore({
    path: join(config.stateDir, 'store.sqlite'),
    listen: { host: '127.0.0.1', port: config.store.port },
    tls: { ca, cert: serverCert, key: serverKey },
    ...parts,
  });
  const endpoints = [`https://127.0.0.1:${server.port}`];
  const tls = { ca, cert, key };
  const store = await openStore({ endpoints, tls, ...parts });
  const close = await keepFormat(store, parts, async () => {
    await store.close();
    await server.close();
  });
  return { store, endpoints, tls, auth: undefined, close };
}

/** Refuses a store of a newer version, at the start and whenever a newer replica raises its format; answers what closes all of it. */
async function keepFormat(store: Store, { clock, log }: { readonly clock: Clock; readonly log: Log }, closeStore: () => Promise<void>): Promise<() => Promise<void>> {
  try {
    const onNewer = (error: Error): void =>
      queueMicrotask(() => {
        throw error; // ends the process: what it wrote from here on, the newer one might not understand
      });
    const format = await holdFormat({ store, clock, log, onNewer });
    return async () => {
      await format.close();
      await closeStore();
    };
  } catch (error) {
    await closeStore();
    throw error;
  }
}

async function readTls(config: Config): Promise<OpenStoreOptions['tls']> {
  const files = config.store.tls;
  if (files === undefined) return undefined;
  const [ca, cert, key] = await Promise.all([readFile(files.ca, 'utf8'), readFile(files.cert, 'utf8'), readPrivateFile(files.key)]);
  return { ca, cert, key: key.toString() };
}

async function readAuth(config: Config): Promise<OpenStoreOptions['auth']> {
  const { username, passwordFile } = config.store;
  if (username === undefined || passwordFile === undefined) return undefined;
  return { username, password: (await readPrivateFile(passwordFile)).toString().trim() };
}
