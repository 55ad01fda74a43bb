// `isthmus up`: the demo from start to end, with or without a terminal; every process it starts ends with it.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ERROR_CLASSES } from '@isthmus/model';
import { systemClock } from '@isthmus/runtime';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import type { Options } from '../tree/action.ts';
import { type DemoRequest, serveDemoControl } from './control.ts';
import { findEtcd } from './etcd.ts';
import { type Federation, openFederation, outboundOf, type StoreKind } from './federation.ts';
import { sinceCommandStartMs } from './measure.ts';
import { type DemoPaths, demoPaths } from './paths.ts';
import { checkPortsFree, parsePortRange } from './ports.ts';
import { showProgress } from './progress.ts';
import { openTour, writeReport } from './report.ts';
import { startDemo } from './start.ts';
import { openSupervisor, type Supervisor } from './supervisor.ts';
import { DEMO_TOPOLOGY, names, PAYMENTS, planPorts } from './topology.ts';
import { findTour } from './tour/tours.ts';
import { showRequests } from './view.ts';
import { END_SIGNALS, tellReport, walkAlone } from './walk.ts';

const SECOND_SIGNAL_KILLS_AFTER_MS = 1_500;

/** Starts the demo and shows requests until it is told to end; with `--check` walks a tour and ends. */
export async function up(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const check = options['check'] === true;
  const beganMonotonicMs = systemClock.monotonicMs() - sinceCommandStartMs();
  const tour = await findTour(String(options['tour']));
  const store: StoreKind = options['store'] === 'etcd' ? 'etcd' : 'embedded';
  if (check && tour.whyNot !== undefined) return skipTour(context, tour.name, store, tour.whyNot, options);
  if (store === 'etcd') findEtcd(process.env['PATH'] ?? '');
  if (check && tour.kind === 'alone') return walkAlone(context, tour, store, options);
  const ports = planPorts(DEMO_TOPOLOGY, parsePortRange(String(options['ports'])));
  const paths = demoPaths(context.stateDir);
  mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });

  const supervisor = openSupervisor();
  const ending = endOnSignals(supervisor);
  const federationOf = (): Federation => openFederation({ topology: DEMO_TOPOLOGY, ports, paths, supervisor, store, adminApi: options['adminApi'] === true });
  let federation: Federation | undefined;
  const control = await serveDemoControl(paths.socket('demo'), (request) => handleRequest(supervisor, request));
  try {
    await checkPortsFree(ports);
    // A walk measures a first start; state of an earlier one would make it another.
    if (options['fresh'] === true || check) forgetState(paths);
    federation = federationOf();
    supervisor.onUnexpectedExit((name, how) => context.stderr.write(`${name} ended by itself (${how}); its log: ${paths.log(name)}\n`));
    context.stdout.write(`starting a federation of two clusters and a VM in ${paths.root}, ports ${String(options['ports'])}, store ${store}\n`);
    const start = startDemo(federation);
    const progress = showProgress(start.phases, context.stdout);
    if (check && tour.kind === 'demo') {
      const record = openTour({ tour: tour.name, store, stdout: context.stdout });
      try {
        await Promise.race([tour.walk({ federation, start, progress, record, beganMonotonicMs }), ending.aborted]);
      } finally {
        tellReport(context, record, options);
      }
    } else {
      await Promise.race([Promise.all([start.ready, progress]), ending.aborted]);
      await start.ready;
      context.stdout.write(`first answer across clusters after ${(((await start.firstCrossClusterAnswer).atMonotonicMs - beganMonotonicMs) / 1_000).toFixed(1)} s\n`);
      await showRequests(outboundOf(federation, 'vm-1', PAYMENTS), context.stdout, ending.signal);
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    if (!check) context.stdout.write('\nending every process of the demo…\n');
    await supervisor.close();
    federation?.close();
    await control.close();
    ending.stopListening();
  }
  if (ending.signal.aborted) process.exitCode = check ? 130 : 0;
}

/** A walk that cannot be walked here has shown nothing: it says why, and its exit code is that of what is unavailable. */
function skipTour(context: CommandContext, tour: string, store: StoreKind, why: string, options: Options): void {
  context.stdout.write(`skipped the tour ${tour}: ${why}\n`);
  if (typeof options['report'] === 'string') writeReport(options['report'], { tour, store, ok: false, skipped: why, steps: [], figures: {}, durationMs: 0 });
  process.exitCode = ERROR_CLASSES.unavailable.exit;
}

/** What `isthmus demo` may ask: a process by its name, or a cluster's sample programs by the cluster's. */
async function handleRequest(supervisor: Supervisor, { verb, what = '' }: DemoRequest): Promise<unknown> {
  if (verb === 'list') return supervisor.list();
  const cluster = DEMO_TOPOLOGY.clusters.find((c) => c.name === what);
  const wanted = cluster === undefined ? [what] : cluster.agents.flatMap((a) => (a.workload === undefined ? [] : [names.workload(cluster.name, a.workload.instance)]));
  for (const name of wanted) supervisor.get(name);
  // Stopped the hard way: it is the failure one wants to see.
  await Promise.all(wanted.map((name) => (verb === 'stop' ? supervisor.kill(name) : supervisor.restart(name))));
  return wanted;
}

/** Removes what earlier runs left. */
function forgetState(paths: DemoPaths): void {
  for (const entry of readdirSync(paths.root)) {
    if (entry !== 'run') rmSync(join(paths.root, entry), { recursive: true, force: true });
  }
}

/** SIGINT, SIGTERM and SIGHUP end the demo in order; a second one after a while kills what is left. */
function endOnSignals(supervisor: Supervisor) {
  const abort = new AbortController();
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  let firstMonotonicMs: number | undefined;
  const onSignal = (): void => {
    if (firstMonotonicMs === undefined) {
      firstMonotonicMs = systemClock.monotonicMs();
      abort.abort();
      aborted.reject(fail('CLI_PROCESS_FAILED', 'the demo was told to end'));
    } else if (systemClock.monotonicMs() - firstMonotonicMs > SECOND_SIGNAL_KILLS_AFTER_MS) {
      for (const name of supervisor.names()) void supervisor.kill(name);
    }
  };
  for (const signal of END_SIGNALS) process.on(signal, onSignal);
  return {
    signal: abort.signal,
    aborted: aborted.promise,
    stopListening: () => {
      for (const signal of END_SIGNALS) process.removeListener(signal, onSignal);
    },
  };
}
