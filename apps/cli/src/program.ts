// Every command of `isthmus`: names, arguments, options and help. What a command does is imported only when it runs, so that --help is fast.
import { Command, CommanderError, Option } from 'commander';
import { run } from './tree/action.ts';
import { addAgents } from './tree/agents.ts';
import { addCluster, addTrust } from './tree/trust.ts';

const EXIT_USAGE = 64;

/** Runs one command line and answers its exit code: 0, 64 for usage, or that of the error's class (sysexits(3)). */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const program = makeProgram();
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    const { reportError } = await import('./output/error.ts');
    return reportError(error, process.stderr, isJsonWanted(argv));
  }
}

/** Whether `-o json` stands there in any of its forms: an error may come before the line is understood. */
function isJsonWanted(argv: readonly string[]): boolean {
  return argv.some((word, i) => word === '-ojson' || word === '--output=json' || ((word === '-o' || word === '--output') && argv[i + 1] === 'json'));
}

/** The whole command tree. */
export function makeProgram(): Command {
  const program = new Command('isthmus')
    .description('Isthmus joins clusters and plain VMs into one federation: discovery, failover and mutual TLS.')
    .addOption(new Option('--socket <path>', 'admin socket of the process to talk to').env('ISTHMUS_SOCKET'))
    .option('--state <dir>', 'state directory of the demo, whose sockets are used without --socket', './.isthmus/demo')
    .addOption(new Option('--context <name>', 'context to use: the admin API of a federation logged in to').env('ISTHMUS_CONTEXT'))
    .option('--cluster <name>', 'cluster meant: of the context’s federation, or of the demo', 'east')
    .addOption(new Option('-o, --output <form>', 'how to print').choices(['table', 'json', 'yaml']).default('table'))
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride();
  addDemo(program);
  addCluster(program);
  addTrust(program);
  addContexts(program);
  addToken(program);
  addService(program);
  addExport(program);
  addTerraform(program);
  addRest(program);
  addAgents(program);
  for (const command of everyCommand(program)) command.exitOverride();
  return program;
}

function addDemo(program: Command): void {
  program
    .command('up')
    .description('start a whole federation on this machine: two clusters and a VM, with requests flowing')
    .option('--ports <from-to>', 'ports the demo may use', '21000-21199')
    .addOption(new Option('--store <kind>', 'the store inside the control plane, or one etcd process per cluster').choices(['embedded', 'etcd']).default('embedded'))
    .option('--admin-api', 'start an admin API in each cluster too')
    .option('--fresh', 'forget the state of earlier runs first')
    .option('--check', 'walk through a tour without a terminal, then end; exit 0 only if all of it holds')
    .option('--tour <name>', 'the tour --check walks', 'main')
    .option('--report <file>', 'write what --check measured as JSON')
    .action(run('process', async () => (await import('./demo/up.ts')).up));
  const demo = program.command('demo').description('act on the running demo');
  for (const verb of ['stop', 'start'] as const) {
    demo
      .command(`${verb} <what>`)
      .description(`${verb} a process by name, or a cluster’s payments instances by the cluster’s name`)
      .action(run('process', async () => (await import('./commands/demo.ts'))[verb === 'stop' ? 'stopDemo' : 'startDemo']));
  }
  demo.command('list').description('processes of the running demo').action(run('process', async () => (await import('./commands/demo.ts')).listDemo));
}

function addContexts(program: Command): void {
  const load = () => import('./commands/login.ts');
  program
    .command('login')
    .description('use a cluster’s admin API from now on: as an operator of the federation, or by bearer tokens of an issuer (OpenID Connect)')
    .option('--token-file <file>', 'file with an operator’s one-time join token or with a bearer token (read anew for each command), - for standard input')
    .option('--token <token>', 'the same, or the token itself; others may see it in the list of processes')
    .requiredOption('--server <host:port>', 'the cluster’s gateway, or its control plane')
    .option('--api <host:port>', 'the admin API, where it is not behind the same gateway')
    .option('--federation <name>', 'bearer: the federation, beside --cluster')
    .option('--root <pem>', 'bearer: file with the federation’s root certificate')
    .option('--root-sha256 <hex>', 'bearer: the root’s SHA-256 instead, told by another way')
    .option('--issuer <url>', 'get bearer tokens from this issuer: by the client’s secret, or without one by saying yes in a browser')
    .option('--client-id <id>', 'of this client')
    .option('--client-secret-file <file>', 'with the secret in this file, read for each token')
    .option('--issuer-ca <pem>', 'file with the CA of the issuer’s server (default: the public ones)')
    .option('--scope <scope>', 'scope to ask the issuer for')
    .option('--audience <audience>', 'audience to ask the issuer for')
    .action(run('process', async () => (await load()).login));
  program.command('whoami').description('who the admin API takes you for, and what you may do').action(run('process', async () => (await load()).whoAmI));
  const context = program.command('context').description('federations you are logged in to');
  context.command('list').description('contexts, and which is in use').action(run('process', async () => (await load()).listContexts));
  context.command('use <name>').description('use this context from now on').action(run('process', async () => (await load()).chooseContext));
  context.command('remove <name>').description('forget a context and its identity').action(run('process', async () => (await load()).forgetContext));
  context
    .command('export [name]')
    .description('write a context’s identity as PEM files, for curl, Terraform and the like; renewed first where it is past its half')
    .requiredOption('--out <dir>', 'where to: svid.pem, key.pem and ca.pem')
    .action(run('process', async () => (await load()).exportContext));
  program.command('completion <shell>').description('a script that completes commands: bash, zsh or fish').action(run('process', async () => {
    const { printCompletion } = await import('./commands/completion.ts');
    return (given, args) => printCompletion(given, args, program);
  }));
}

function addToken(program: Command): void {
  const load = () => import('./commands/token.ts');
  const token = program.command('token').description('one-time join tokens of agents and gateways');
  token
    .command('create <agent>')
    .description('let an agent, gateway or operator of this name join the cluster; the token is shown once')
    .option('--service <namespace/name...>', 'services it may hold identities of', [])
    .addOption(new Option('--role <role>', 'what may join').choices(['agent', 'gateway', 'operator']).default('agent'))
    .option('--ttl <duration>', 'how long the token may be used', '1h')
    .action(run('control-plane', async () => (await load()).createToken));
  token.command('list').description('tokens of this cluster, without their secrets').action(run('control-plane', async () => (await load()).listTokens));
  token.command('delete <id>').description('make a token useless').action(run('control-plane', async () => (await load()).deleteToken));
}

function addService(program: Command): void {
  const load = () => import('./commands/service.ts');
  const service = program.command('service').description('services of this cluster');
  service
    .command('apply <namespace/name>')
    .description('create or replace a service')
    .requiredOption('--port <name=port/protocol...>', 'a port, such as http=80/http, api=9000/grpc or db=5432/tcp')
    .option('--label <key=value...>', 'a label', [])
    .action(run('control-plane', async () => (await load()).applyService));
  service.command('list').description('services declared here').action(run('control-plane', async () => (await load()).listServices));
  service.command('delete <namespace/name>').description('remove a service').action(run('control-plane', async () => (await load()).deleteService));
  const banning = () => import('./commands/ban.ts');
  service
    .command('ban <namespace/name>')
    .description('refuse every SVID of a service issued so far, in all clusters, and issue none until it is unbanned')
    .option('--reason <text>', 'why, for the log')
    .action(run('control-plane', async () => (await banning()).banService));
  service.command('unban <namespace/name>').description('take the ban of a service back').action(run('control-plane', async () => (await banning()).unbanService));
  program.command('ban').description('banned agents and services').command('list').description('bans of this cluster').action(run('control-plane', async () => (await banning()).listBans));
  service.command('endpoints <name>').description('where a service answers: instances here, and other clusters').action(run('control-plane', async () => (await load()).listEndpoints));
}

function addExport(program: Command): void {
  const load = () => import('./commands/export.ts');
  const exports = program.command('export').description('what this cluster offers to others');
  exports
    .command('apply <namespace/name>')
    .description('offer a service to other clusters')
    .option('--consumers <clusters>', '`all`, or names of clusters with commas between', 'all')
    .option('--foreign <caller...>', 'callers of foreign trust domains that may reach it here: a trust domain, or SPIFFE IDs')
    .option('--layer7', 'gateways end TLS and balance each request, instead of each connection')
    .action(run('control-plane', async () => (await load()).applyExport));
  exports.command('list').description('exports of this cluster').action(run('control-plane', async () => (await load()).listExports));
  exports.command('imports').description('what other clusters offer to this one').action(run('control-plane', async () => (await load()).listImports));
  exports.command('delete <namespace/name>').description('offer a service no longer').action(run('control-plane', async () => (await load()).deleteExport));
}

function addTerraform(program: Command): void {
  program
    .command('terraform')
    .description('the Terraform provider')
    .command('mirror <directory>')
    .description('lay the provider out where `terraform init` can install it from, without a registry')
    .option('--cli-config <file>', 'write the Terraform CLI configuration that uses it to this file')
    .option('--link', 'link to this executable instead of copying it')
    .action(run('process', async () => (await import('./commands/terraform.ts')).mirrorProvider));
}

function addRest(program: Command): void {
  program
    .command('apply')
    .description('create or replace the services, exports, foreign trust domains and drains of YAML or JSON documents; all of them, or none if one is wrong')
    .requiredOption('-f, --file <file>', 'the file, or - for standard input')
    .option('--dry-run', 'check everything, change nothing')
    .action(run('control-plane', async () => (await import('./commands/apply.ts')).applyFile));
  program
    .command('get <kind> [name]')
    .description('things of a kind: services, exports, workloads, imports, peers, agents, gateways, drains, proxies, clusters, certificates, bundles, foreign-trust-domains, bans, tokens, entries')
    .option('-n, --namespace <namespace>', 'of this namespace only')
    .action(run('control-plane', async () => (await import('./commands/resource.ts')).getResources));
  program
    .command('diff')
    .description('what `apply` would change; exit 1 where that is something')
    .requiredOption('-f, --file <file>', 'the file, or - for standard input')
    .action(run('control-plane', async () => (await import('./commands/resource.ts')).diffFile));
  program
    .command('delete')
    .description('delete what a file declares')
    .requiredOption('-f, --file <file>', 'the file, or - for standard input')
    .action(run('control-plane', async () => (await import('./commands/resource.ts')).deleteFile));
  program
    .command('logs [program]')
    .description('newest log lines of a program of this machine: trust-root, control-plane (default), gateway, agent, admin-api, or a process of the demo')
    .option('-n, --last <number>', 'how many of the lines there are', '100')
    .addOption(new Option('--level <level>', 'this and what is graver').choices(['error', 'warn', 'info', 'debug']).default('debug'))
    .option('-f, --follow', 'go on with the lines that come')
    .action(run('process', async () => (await import('./commands/logs.ts')).showLogs));
  program.command('version').description('this program’s version, and with a context those of the federation’s parts').action(run('control-plane', async () => (await import('./commands/version.ts')).showVersion));
  const certificate = program.command('certificate').description('X.509 SVIDs');
  certificate.command('list').description('certificates in use here and when they end').action(run('control-plane', async () => (await import('./commands/certificate.ts')).listCertificates));
  certificate
    .command('show [agent]')
    .description('SVIDs an agent or gateway holds (default: vm-1)')
    .option('--file <pem>', 'read a PEM file instead')
    .action(run('control-plane', async () => (await import('./commands/certificate.ts')).showCertificate));
  program.command('status').description('the federation on one screen, what needs a look first; one cluster with --cluster, or over its own socket').action(run('control-plane', async () => (await import('./commands/status.ts')).showStatus));
}

function* everyCommand(command: Command): Generator<Command> {
  for (const child of command.commands) {
    yield child;
    yield* everyCommand(child);
  }
}
