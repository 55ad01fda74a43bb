// Steps on what is refused: certificates wrong in one point each, and names that are not exported.
import { connect, type TLSSocket } from 'node:tls';
import { serviceSni, spiffeIds, type ServiceName } from '@isthmus/model';
import { svidToPem, type X509Svid } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import type { Federation } from '../federation.ts';
import { waitFor } from '../supervisor.ts';
import { FEDERATION, PAYMENTS, portNames, names, VAULT } from '../topology.ts';
import { foreignSvid, type ProbeCluster } from './probe-cluster.ts';
import { ms, need } from './step.ts';
import type { Walk } from './tours.ts';

const HOUR_MS = 3_600_000;
const CONNECT_LIMIT_MS = 5_000;
/** The probe cluster is new: its bundle has to reach east’s agents first. */
const BUNDLE_LIMIT_MS = 10_000;
/** Refusals have to be quick, or they are time-outs. */
const QUICK_MS = 1_000;

export type TlsOutcome = { readonly kind: 'answered' | 'refused'; readonly detail: string; readonly afterMs: number };

export async function walkCertificates(walk: Walk, probe: ProbeCluster | Error): Promise<void> {
  const { federation, record } = walk;
  const payments = spiffeIds.service(federationCluster(federation, 'east'), PAYMENTS);
  const toPayments = { port: federation.port(portNames.inbound('east-1', PAYMENTS)), serverName: sniOf(federation, PAYMENTS) };
  const probeOrFail = (): ProbeCluster => {
    if (probe instanceof Error) throw probe;
    return probe;
  };

  await record.step('expired-certificate-refused', async () => {
    const { sign, trustDomain } = probeOrFail();
    const caller = spiffeIds.service(trustDomain, PAYMENTS);
    const nowMs = systemClock.nowMs();
    const valid = sign(caller, { nowMs, ttlMs: HOUR_MS });
    // The same authority and name, still valid, has to get through: so it is the date that is refused below.
    await waitFor(`east to take a valid certificate of ${caller}`, BUNDLE_LIMIT_MS, async () => {
      const outcome = await askOverTls({ ...toPayments, svid: valid });
      if (outcome.kind === 'refused') throw new Error(outcome.detail);
      return outcome;
    }, 100);
    const outcome = await askOverTls({ ...toPayments, svid: sign(caller, { nowMs: nowMs - 3 * HOUR_MS, ttlMs: HOUR_MS }) });
    need(outcome.kind === 'refused', `a certificate that expired two hours ago was let in: ${outcome.detail}`);
    return { detail: `${caller}: valid answered, expired two hours ago refused after ${ms(outcome.afterMs)} ms (${outcome.detail})`, measured: { afterMs: ms(outcome.afterMs) } };
  });
  await record.step('foreign-certificate-refused', async () => {
    const outcome = await askOverTls({ ...toPayments, svid: foreignSvid(payments, FEDERATION, federationCluster(federation, 'east')) });
    need(outcome.kind === 'refused', `a certificate of an unknown root was let in: ${outcome.detail}`);
    const bare = await askOverTls(toPayments);
    need(bare.kind === 'refused', `a caller without certificate was let in: ${bare.detail}`);
    return { detail: `${payments} under an unknown root refused after ${ms(outcome.afterMs)} ms (${outcome.detail}); no certificate refused (${bare.detail})`, measured: { afterMs: ms(outcome.afterMs) } };
  });
  await record.step('impersonation-refused', async () => {
    const outcome = await askOverTls({ ...toPayments, svid: probeOrFail().sign(payments, { nowMs: systemClock.nowMs(), ttlMs: HOUR_MS }) });
    need(outcome.kind === 'refused', `another cluster’s authority vouched for ${payments} and was believed`);
    return { detail: `${payments} signed by the authority of another member cluster refused after ${ms(outcome.afterMs)} ms (${outcome.detail})`, measured: { afterMs: ms(outcome.afterMs) } };
  });
  if (!(probe instanceof Error)) await probe.leave().catch(() => undefined);
  await walkUnexported(walk);
}

async function walkUnexported({ federation, record }: Walk): Promise<void> {
  await record.step('unexported-refused', async () => {
    const port = federation.port(names.gateway('east'));
    const before = await refusals(federation, 'east');
    const exported = await askOverTls({ port, serverName: sniOf(federation, PAYMENTS) });
    need(exported.detail.includes(spiffeIds.service(federationCluster(federation, 'east'), PAYMENTS)), `the gateway did not lead to payments, which is exported: ${exported.detail}`);
    const outcome = await askOverTls({ port, serverName: sniOf(federation, VAULT) });
    need(outcome.kind === 'refused' && !outcome.detail.includes('server spiffe://'), `the gateway led to vault, which is not exported: ${outcome.detail}`);
    need(outcome.afterMs < QUICK_MS, `the refusal took ${ms(outcome.afterMs)} ms`);
    const after = await waitFor('the gateway’s count of refusals to grow', CONNECT_LIMIT_MS, async () => {
      const now = await refusals(federation, 'east');
      return now > before ? now : undefined;
    });
    return { detail: `${sniOf(federation, VAULT)} refused at east’s gateway after ${ms(outcome.afterMs)} ms (${outcome.detail}); refusals counted ${before} → ${after}`, measured: { afterMs: ms(outcome.afterMs), refusalsBefore: before, refusalsAfter: after } };
  });
}

/** Connects by TLS, asks for `/`, and says whether an answer came or the connection was refused, and by which server. */
export function askOverTls(to: { readonly port: number; readonly serverName: string; readonly svid?: X509Svid }): Promise<TlsOutcome> {
  const startedMonotonicMs = systemClock.monotonicMs();
  const pem = to.svid === undefined ? undefined : svidToPem(to.svid);
  return new Promise((resolve) => {
    let server = '';
    const end = (kind: TlsOutcome['kind'], detail: string): void => {
      resolve({ kind, detail: server === '' ? detail : `${detail}, server ${server}`, afterMs: systemClock.monotonicMs() - startedMonotonicMs });
      limit.cancel();
      socket.destroy();
    };
    // The server is not what is tried here: what it says of itself is read, not judged.
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: to.port,
      servername: to.serverName,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ...(pem === undefined ? {} : { cert: pem.certPem, key: pem.keyPem }),
    });
    const limit = systemClock.setTimer(CONNECT_LIMIT_MS, () => end('refused', `nothing within ${CONNECT_LIMIT_MS} ms`));
    socket.once('secureConnect', () => {
      server = /URI:([^,]+)/.exec(socket.getPeerX509Certificate()?.subjectAltName ?? '')?.[1] ?? '';
      socket.write(`GET / HTTP/1.1\r\nhost: ${to.serverName}\r\nconnection: close\r\n\r\n`);
    });
    socket.once('data', (bytes: Buffer) => end('answered', bytes.toString('latin1').split('\r\n')[0] ?? ''));
    socket.once('error', (error: NodeJS.ErrnoException) => end('refused', error.code ?? error.message));
    socket.once('close', () => end('refused', 'closed without an answer'));
  });
}

/** The gateway’s refusals of every reason, from its metrics page. */
async function refusals(federation: Federation, cluster: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${federation.port(portNames.health(names.gateway(cluster)))}/metrics`, { signal: AbortSignal.timeout(CONNECT_LIMIT_MS) });
  const lines = (await response.text()).split('\n').filter((line) => /^isthmus_[a-z_]*refus[a-z_]*_total\b/.test(line));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

function sniOf(federation: Federation, service: ServiceName): string {
  return serviceSni(service, 'http', federationCluster(federation, 'east'));
}

function federationCluster(federation: Federation, name: string) {
  const cluster = federation.options.topology.clusters.find((c) => c.name === name);
  if (cluster === undefined) throw new TypeError(`the demo has no cluster ${name}`);
  return cluster.trustDomain;
}
