// The federation's root: one CA, its members, their bootstrap tokens and bundles, all durable before they are told.
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { trust } from '@isthmus/rpc';
import { fileKeyStore } from '../key-store.ts';
import type { TransparencyLog } from '../transparency-log/log.ts';
import { Root, type TrustRootOptions } from './root.ts';
import { openRoot } from './root-key.ts';
import { DAY_MS } from './root-signer.ts';
import { Rotor } from './rotor.ts';
import { type RemoteOperator, serveRemoteOperators } from './serve-remote.ts';
import { operatorWork, serveTrustRoot, serveTrustRootAdmin } from './serve.ts';

export type { TrustRootOptions } from './root.ts';

/** A running trust root; put `service` on the TLS listener and `admin` on the Unix socket. */
export interface TrustRoot {
  /** For members and joining clusters. */
  readonly service: { readonly definition: typeof trust.TrustRootService; readonly implementation: trust.TrustRootServer };
  /** For the operator: serve it on a Unix socket only, it asks for no identity. */
  readonly admin: { readonly definition: typeof trust.TrustRootAdminService; readonly implementation: trust.TrustRootAdminServer };
  /** What operators may do over the network, through admin APIs: for the TLS listener. */
  readonly remote: { readonly definition: typeof trust.TrustRootAdminService; readonly implementation: trust.TrustRootAdminServer };
  /** The trust root's own server SVID, `spiffe://<federation>/trust-root`. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** SHA-256 of the root certificate's DER, in hex: what tokens pin. */
  readonly rootSha256: string;
  /** Whether the last change could be made durable; false while the disk is full. */
  isDurable(): boolean;
  /** Whether the root's key signed when it was last asked; false while its token or program is away. */
  isKeyAvailable(): boolean;
  /** The transparency log: every certificate, bundle and change of members and tokens. */
  readonly log: TransparencyLog;
  /** Ends the streams and the renewal. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the root in `stateDir`, making key, root certificate and state on the first start.
 * **Throws** IDENTITY_STATE_MISMATCH, IDENTITY_STATE_CORRUPT, and runtime's STATE_* of a file that is cut short, exposed or on a full disk.
 */
export async function openTrustRoot(options: TrustRootOptions & { readonly operators?: readonly RemoteOperator[] }): Promise<TrustRoot> {
  const keys = options.keys ?? fileKeyStore(options.stateDir);
  const opened = await openRoot({
    keys,
    stateDir: options.stateDir,
    federation: options.federation,
    keyKind: options.keyKind ?? 'ec-p256',
    rootTtlMs: options.rootTtlMs ?? 3_650 * DAY_MS,
    nowMs: options.clock.nowMs(),
    log: options.log,
  });
  const root = await Root.open(opened, { ...options, keys });
  const rotor = new Rotor(root, { ...options, keys });
  const service = serveTrustRoot(root, rotor, options.log);
  const work = operatorWork(root, rotor);
  const admin = serveTrustRootAdmin(root, work, options.log);
  return {
    service: { definition: trust.TrustRootService, implementation: service.implementation },
    admin: { definition: trust.TrustRootAdminService, implementation: admin },
    remote: { definition: trust.TrustRootAdminService, implementation: serveRemoteOperators({ admin, work, operators: options.operators ?? [], root, log: options.log }) },
    svids: root.svids,
    bundles: root.bundles,
    get rootSha256() {
      return root.rootSha256;
    },
    log: root.ledger,
    isKeyAvailable: () => root.signer.isAvailable,
    isDurable: () => root.durable && root.ledger.isWritable(),
    close: async () => {
      service.close();
      await rotor.close();
      await root.close();
    },
  };
}
