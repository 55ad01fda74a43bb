// The command `isthmus`: hands its arguments to the program and its exit code to the shell.
import { runProgram } from './program.ts';

process.exitCode = await runProgram(process.argv.slice(2));
