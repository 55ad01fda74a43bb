// Commands about who belongs to the federation and what it trusts: clusters, the root, its log, foreign trust domains.
import { type Command, Option } from 'commander';
import { run } from './action.ts';

/** `cluster`: members, peers, fences and bootstrap tokens. */
export function addCluster(program: Command): void {
  const load = () => import('../commands/cluster.ts');
  const cluster = program.command('cluster').description('clusters of the federation');
  cluster.command('list').description('member clusters, as the trust root knows them').action(run('trust-root', async () => (await load()).listClusters));
  cluster.command('peers').description('other clusters, as this cluster sees them').action(run('control-plane', async () => (await load()).listPeers));
  cluster.command('remove <name>').description('end a cluster’s membership').action(run('trust-root', async () => (await load()).removeCluster));
  cluster
    .command('fence <name>')
    .description('revoke all that a cluster ever signed, in every cluster and at once: for an intermediate or control plane that was taken over')
    .option('--reason <text>', 'why, for the log')
    .action(run('trust-root', async () => (await load()).fenceCluster));
  cluster.command('unfence <name>').description('let a fenced cluster join anew; what it signed before stays revoked').action(run('trust-root', async () => (await load()).unfenceCluster));
  const token = cluster.command('token').description('one-time bootstrap tokens of clusters');
  token
    .command('create <name>')
    .description('let a cluster of this name join the federation; the token is shown once')
    .option('--ttl <duration>', 'how long the token may be used', '1h')
    .option('--replace', 'let a cluster that lost its keys join again under its name')
    .action(run('trust-root', async () => (await load()).createClusterToken));
}

/** `trust`: the root of trust, its log and backups, rotation, and foreign trust domains. */
export function addTrust(program: Command): void {
  const trust = program.command('trust').description('the federation’s root of trust');
  const load = () => import('../commands/trust-log.ts');
  trust
    .command('log')
    .description('what the trust root did: certificates, bundles, members, tokens; newest last')
    .option('--file <log>', 'read a log file instead, such as a control plane’s')
    .option('--last <number>', 'how many records', '100')
    .option('--kind <kind>', 'only records of this kind')
    .action(run('trust-root', async () => (await load()).showLog));
  trust
    .command('verify-log <file>')
    .description('check a transparency log offline: every line, its chain and its signatures')
    .option('--checkpoint <hash>', 'hash of a record that must be in it, noted down earlier')
    .option('--root <pem...>', 'root certificate its last checkpoint must be signed under')
    .action(run('trust-root', async () => (await load()).verifyLogFile));
  const archive = () => import('../commands/trust-backup.ts');
  trust
    .command('backup <file>')
    .description('write state, keys and log of one moment to an encrypted file; the trust root may run')
    .option('--state-dir <dir>', 'state directory of the trust root (default: the demo’s)')
    .requiredOption('--passphrase-file <file>', 'file of mode 0600 with the passphrase to encrypt with')
    .action(run('trust-root', async () => (await archive()).backup));
  trust
    .command('restore <file>')
    .description('put a backup into a directory that holds no trust root')
    .requiredOption('--state-dir <dir>', 'the directory')
    .requiredOption('--passphrase-file <file>', 'file of mode 0600 with the passphrase of the backup')
    .option('--checkpoint <hash>', 'newest hash of the log noted elsewhere: a backup without it is refused')
    .option('--accept-older', 'restore a backup without that record all the same')
    .action(run('trust-root', async () => (await archive()).restore));
  const rotation = () => import('../commands/trust-rotation.ts');
  trust
    .command('rotate')
    .description('replace the federation’s root step by step, or follow the rotation under way; nothing is cut off')
    .option('--pause', 'stop before the next step')
    .option('--resume', 'go on with a rotation that was paused or holds')
    .option('--rollback', 'go back to the old root; possible until it is retired')
    .option('--without <name...>', 'do not wait for this process, such as east/agent/vm-1; it may be cut off', [])
    .addOption(new Option('--hold-before <step>', 'stop before this step until --resume').choices(['distribute', 'prove', 'switch', 'reissue', 'prove-unused', 'retire']))
    .option('--compromised', 'the root’s key is in other hands: revoke it within seconds, cutting off who cannot follow')
    .option('--yes', 'do not ask')
    .option('--no-follow', 'do not wait for the end')
    .action(run('trust-root', async () => (await rotation()).rotateTrust));
  trust.command('status').description('the roots, how far a rotation is, and who is waited for').action(run('trust-root', async () => (await rotation()).showTrust));
  trust.command('checkpoint').description('sign the log’s head now; note the hash elsewhere').action(run('trust-root', async () => (await load()).checkpointLog));
  addForeign(trust);
}

function addForeign(trust: Command): void {
  const load = () => import('../commands/trust-domain.ts');
  trust.command('list').description('foreign trust domains of this cluster, and how old each bundle is').action(run('control-plane', async () => (await load()).listTrustDomains));
  trust
    .command('federate <trust-domain>')
    .description('take the bundle of a foreign trust domain, so that exports can name its callers')
    .option('--url <https>', 'its bundle endpoint; without one, bundles come by `trust bundle import`')
    .addOption(new Option('--profile <profile>', 'how the endpoint proves itself').choices(['https_spiffe', 'https_web', 'file']))
    .option('--spiffe-id <id>', 'https_spiffe: whom the endpoint must prove to be')
    .option('--ca <pem>', 'https_web: file with the CAs that may vouch for it (default: the system’s)')
    .option('--bundle <file>', 'its first bundle, a SPIFFE bundle document')
    .option('--sha256 <hex>', 'the document’s fingerprint, told by another way; asked for without it')
    .action(run('control-plane', async () => (await load()).federate));
  trust.command('drop <trust-domain>').description('take a foreign trust domain’s bundle away; its callers are let in no longer').action(run('control-plane', async () => (await load()).drop));
  const bundle = trust.command('bundle').description('bundles: this cluster’s own, and foreign ones by file');
  bundle.command('show [trust-domain]').description('what a bundle in force trusts (default: this cluster’s own)').action(run('control-plane', async () => (await load()).showBundle));
  bundle
    .command('export [trust-domain]')
    .description('write a bundle in force as a SPIFFE bundle document (default: this cluster’s own)')
    .option('--out <file>', 'where to (default: standard output)')
    .action(run('control-plane', async () => (await load()).exportBundle));
  bundle
    .command('import <trust-domain> <file>')
    .description('take a bundle document of a foreign trust domain; an older one is refused')
    .option('--sha256 <hex>', 'the document’s fingerprint, told by another way; asked for without it')
    .action(run('control-plane', async () => (await load()).importBundle));
}
