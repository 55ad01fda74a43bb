// What verifiers no one here wrote make of a chain: `openssl verify` and Go's crypto/x509.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '@isthmus/harness';

export type Chain = { readonly chain: readonly Buffer[]; readonly roots: readonly Buffer[]; readonly nowMs: number };

const pem = (der: Buffer): string => `-----BEGIN CERTIFICATE-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;

/** `ok`, or OpenSSL's complaint: strict, for a server and for a client, with the bundle's certificates as the only trust. */
export async function askOpenssl(chains: readonly Chain[]): Promise<readonly string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-chains-'));
  const answers: string[] = [];
  const ask = async (at: number): Promise<string> => {
    const asked = chains[at];
    if (asked === undefined) return 'no chain';
    const file = (name: string, ders: readonly Buffer[]): string => {
      const path = join(directory, `${at}-${name}.pem`);
      writeFileSync(path, ders.map(pem).join(''));
      return path;
    };
    const [leaf = Buffer.alloc(0), ...others] = asked.chain;
    const files = ['-CAfile', file('roots', asked.roots), ...(others.length === 0 ? [] : ['-untrusted', file('others', others)]), file('leaf', [leaf])];
    for (const purpose of ['sslserver', 'sslclient']) {
      const { code, stderr } = await run('openssl', ['verify', '-x509_strict', '-partial_chain', '-no-CApath', '-no-CAstore', '-purpose', purpose, '-attime', String(asked.nowMs / 1_000), ...files]);
      if (code !== 0) return /error \d+ at .*|error:.*|Could not .*/.exec(stderr)?.[0] ?? stderr.slice(0, 200);
    }
    return 'ok';
  };
  try {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let at = next++; at < chains.length; at = next++) answers[at] = await ask(at);
    };
    await Promise.all([worker(), worker(), worker()]);
    return answers;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** `ok`, or Go's complaint; one process for all. */
export async function askGo(chains: readonly Chain[]): Promise<readonly string[]> {
  const child = spawn('go', ['run', join(import.meta.dirname, 'verify.go')], { stdio: ['pipe', 'pipe', 'pipe'], timeout: 300_000 });
  let answer = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (answer += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  child.stdin.on('error', () => undefined);
  child.stdin.end(chains.map(({ chain, roots, nowMs }) => `${JSON.stringify({ chain: chain.map(base64), roots: roots.map(base64), nowMs })}\n`).join(''));
  const code = await ended;
  if (code !== 0) throw new Error(`go run ended with ${code}: ${complaint.slice(0, 2_000)}`);
  return answer.trimEnd().split('\n');
}

const base64 = (der: Buffer): string => der.toString('base64');
