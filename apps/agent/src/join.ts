// Becoming and staying a member: an identity by token or from disk, then the snapshot, compiled at every change.
import { readFile } from 'node:fs/promises';
import { join as joinPath } from 'node:path';
import { compile, type Engine } from '@isthmus/decide';
import { type DrainFollower, openDrainFollower, subscribe, type Subscription } from '@isthmus/discovery';
import { type Identity, joinOrResume, openProxyAttestation } from '@isthmus/identity';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Config } from './config.ts';
import { fail } from './errors.ts';

/** What every part of a process is made with. */
export type Parts = { readonly clock: Clock; readonly random: Random; readonly log: Log; readonly metrics: Metrics };

/** The same for what listens: alone on its ports, or beside a predecessor. */
export type ListeningParts = Parts & { readonly sharesPort: 'first' | 'joins' };

/** Attests by token or by what the platform gives, or resumes what is on disk without asking anybody. **Throws** AGENT_NAME_MISMATCH, IDENTITY_*. */
export async function joinCluster(config: Config, parts: Parts): Promise<Identity> {
  const token = config.joinToken ?? (await tokenIn(config.joinTokenFile));
  const attestation = config.attestation === undefined ? undefined : await openProxyAttestation(config.attestation);
  const identity = await joinOrResume({ stateDir: joinPath(config.stateDir, 'identity'), server: config.server, token, attestation, ...parts });
  if (config.name !== undefined && config.name !== identity.agent) {
    await identity.close();
    throw fail('AGENT_NAME_MISMATCH', `the configuration names this agent ${config.name}, its identity is ${identity.spiffeId}`, {
      hint: 'make a join token, or a rule of attestation, for the configured name and remove the state directory, or correct the name',
    });
  }
  return identity;
}

/** The snapshot in force as an engine; a new one at every change. */
export interface Knowledge {
  readonly subscription: Subscription;
  /** What an operator wants drained here. */
  readonly drain: DrainFollower;
  engine(): Engine;
  /** Called after the engine has been replaced, with the names of the resources that changed. */
  onEngine(fn: (engine: Engine, changed: readonly string[]) => void): () => void;
  close(): Promise<void>;
}

/** Starts from the last good snapshot on disk, so that an agent serves while its control plane is away. */
export async function openKnowledge(config: Config, identity: Identity, parts: Parts): Promise<Knowledge> {
  const drain = await openDrainFollower({ stateFile: joinPath(config.stateDir, 'drain'), clock: parts.clock, log: parts.log });
  const subscription = await subscribe({
    channel: identity.channel(),
    hello: { network: config.network, locality: config.locality },
    stateFile: joinPath(config.stateDir, 'last-good.json'),
    bundles: identity.bundles,
    trust: { name: identity.agent, trustFacts: () => identity.trustFacts(), onTrust: (fn) => identity.onTrust(fn), takeHint: (hint) => identity.takeHint(hint) },
    drain: { name: identity.agent, follower: drain },
    ...parts,
  });
  let engine = compile(subscription.snapshot());
  const watchers = new Set<(engine: Engine, changed: readonly string[]) => void>();
  const stop = subscription.onSnapshot((snapshot, changed) => {
    engine = compile(snapshot, engine);
    for (const fn of watchers) fn(engine, changed);
  });
  return {
    subscription,
    drain,
    engine: () => engine,
    onEngine(fn) {
      watchers.add(fn);
      return () => watchers.delete(fn);
    },
    async close() {
      stop();
      await subscription.close();
      await drain.close();
    },
  };
}

/** The token of a file; undefined when the file is gone, as it is after the first start. */
async function tokenIn(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
