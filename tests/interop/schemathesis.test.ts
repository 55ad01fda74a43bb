// The admin API held against its own OpenAPI document by a program no one here wrote: schemathesis. In full: ISTHMUS_SCHEMATHESIS_EXAMPLES=100.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openApiDocument, ROUTES } from '@isthmus/api';
import { clusterOf, DEMO_OPERATOR, findProgram, names, openOperator, run, smallTopology, startFederation } from '@isthmus/harness';

const schemathesis = process.env['ISTHMUS_SCHEMATHESIS'] ?? findProgram('schemathesis');
/** Random examples an operation, beside those that follow from its form; the more, the longer. */
const EXAMPLES = Number(process.env['ISTHMUS_SCHEMATHESIS_EXAMPLES'] ?? 4);
/** Generous: the program ends when its examples are done. */
const LIMIT_MS = 240_000 + EXAMPLES * 10_000;
/**
 * What schemathesis does not know: a body must name what its path names (positive_data_acceptance); who calls is told
 * by the connection's certificate, which it cannot leave out (ignored_auth; the server's own test does).
 */
const EXCLUDED = 'positive_data_acceptance,ignored_auth';

test('every answer of the admin API is as its OpenAPI document says', { skip: schemathesis === undefined && 'schemathesis is not installed (pip install schemathesis)', timeout: LIMIT_MS + 100_000 }, async (t) => {
  const settings = (name: string): object => (name === names.adminApi('east') ? { limits: { requestsPerSecond: 10_000, requestsBurst: 10_000 } } : {});
  const mesh = await startFederation({ topology: smallTopology(['east-1', 'west-2']), start: false, settings }, t);
  const east = clusterOf(mesh.topology, 'east');
  await mesh.federation.startTrustRoot();
  await mesh.federation.startControlPlane(east);
  await Promise.all([mesh.federation.startAdminApi(east), mesh.federation.declare(east)]);
  const operator = await openOperator(mesh, 'east', DEMO_OPERATOR);
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-schemathesis-'));
  try {
    const file = (name: string, text: string): string => {
      writeFileSync(join(dir, name), text, { mode: 0o600 });
      return join(dir, name);
    };
    const args = [
      'run', file('openapi.json', JSON.stringify(oneCluster(openApiDocument()))),
      '--url', `https://127.0.0.1:${mesh.federation.port(names.adminApi('east'))}`, '--tls-verify', 'false',
      '--request-cert', file('cert.pem', operator.pem.certPem), '--request-cert-key', file('key.pem', operator.pem.keyPem),
      '--exclude-checks', EXCLUDED, '--max-examples', String(EXAMPLES), '--request-timeout', '30', '--continue-on-failure',
      '--generation-deterministic', '--no-color', '--workers', '1',
    ];
    // Its terminal library takes FORCE_COLOR for a terminal, whatever it is set to, unless it is empty.
    const finished = await run(schemathesis ?? '', args, { limitMs: LIMIT_MS, cwd: dir, env: { PYTHONWARNINGS: 'ignore', FORCE_COLOR: '' } });
    const failures = finished.stdout.split('\n').filter((line) => /^_{3,} |^- ST\d+|returned \d+|does not conform/.test(line.trim()));
    assert.equal(finished.code, 0, `${failures.slice(0, 60).join('\n')}\n${finished.stdout.slice(-4_000)}\n${finished.stderr.slice(-2_000)}`);
    // Fewer examples, never fewer operations.
    const [, selected, total] = /Operations: +(\d+) selected \/ (\d+) total/.exec(finished.stdout) ?? [];
    assert.ok(selected !== undefined && selected === total && Number(total) === ROUTES.length, finished.stdout.slice(0, 2_000));
    assert.match(finished.stdout, /\d+ (?:generated|passed)/);
    t.diagnostic(finished.stdout.split('\n').filter((line) => /generated|Tested|passed|operations/i.test(line)).join(' · '));
  } finally {
    await operator.close();
    rmSync(dir, { recursive: true, force: true });
  }
});

/** The document for this one cluster, without watches, which never end, and without dry runs of deletions, which it takes for deletions. */
function oneCluster(document: object): object {
  type Operation = { parameters: { name: string; schema: object }[] };
  const copy = structuredClone(document) as { paths: Record<string, Record<string, Operation>>; security?: object; components: { securitySchemes?: object } };
  // It would send bearer tokens of its own making beside the certificate, which is refused before anything else is looked at.
  delete copy.security;
  delete copy.components.securitySchemes;
  for (const path of Object.values(copy.paths)) {
    for (const [method, operation] of Object.entries(path)) {
      operation.parameters = operation.parameters.filter((p) => p.name !== 'watch' && !(method === 'delete' && p.name === 'dryRun')).map((p) => (p.name === 'cluster' ? { ...p, schema: { const: 'east', type: 'string' } } : p));
    }
  }
  return copy;
}
