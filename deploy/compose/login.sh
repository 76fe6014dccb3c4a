#!/bin/sh
# Run once, when the database is made: the login of `serve`, without any attribute of its own.
set -eu
psql --set=ON_ERROR_STOP=1 --username=postgres --dbname=postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
CREATE ROLE kubewitness LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SQL
