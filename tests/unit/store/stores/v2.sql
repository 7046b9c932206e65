BEGIN TRANSACTION;
CREATE TABLE notes (
	sweep_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (sweep_id, "key"), 
	FOREIGN KEY(sweep_id) REFERENCES sweeps (id) ON DELETE CASCADE
);
INSERT INTO "notes" VALUES('abcd1234','search_code','"def space(trial):\n    trial.suggest_int(\"a\", 1, 2)\n"');
CREATE TABLE points (
	sweep_id TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	attempt BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	value DOUBLE, 
	exact TEXT, 
	step BIGINT, 
	time BIGINT NOT NULL, 
	PRIMARY KEY (sweep_id, number, seq), 
	CONSTRAINT points_of_trial FOREIGN KEY(sweep_id, number) REFERENCES trials (sweep_id, number) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "points" VALUES('abcd1234',0,0,0,'loss',0.5,NULL,1,1767312000000000);
CREATE TABLE smsweep_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT smsweep_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "smsweep_version" VALUES('0002');
CREATE TABLE sweeps (
	id TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	seed TEXT NOT NULL, 
	name TEXT NOT NULL, 
	project TEXT NOT NULL, 
	entity TEXT NOT NULL, 
	sweep_yaml TEXT NOT NULL, 
	job_yaml TEXT NOT NULL, 
	source_hash TEXT NOT NULL, 
	prior_runs TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	revision BIGINT NOT NULL, 
	next_number BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "sweeps" VALUES('abcd1234','running','0','','','','method: random
','','','[]',1767312000000000,6,2);
CREATE TABLE trials (
	sweep_id TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	params TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempt BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	asked_by TEXT NOT NULL, 
	job_name TEXT NOT NULL, 
	place TEXT NOT NULL, 
	agent_id TEXT NOT NULL, 
	lease_expires_at BIGINT, 
	created_at BIGINT NOT NULL, 
	started_at BIGINT, 
	ended_at BIGINT, 
	exit_code BIGINT, 
	cursor TEXT NOT NULL, 
	n_points BIGINT NOT NULL, 
	metrics TEXT NOT NULL, 
	summary TEXT NOT NULL, 
	revision BIGINT NOT NULL, 
	is_removed BOOLEAN NOT NULL, retries TEXT DEFAULT '{}' NOT NULL, usage TEXT DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (sweep_id, number), 
	FOREIGN KEY(sweep_id) REFERENCES sweeps (id) ON DELETE CASCADE
);
INSERT INTO "trials" VALUES('abcd1234',0,'{"lr":1}','failed',0,'ValueError: no','','smsweep-abcd1234-0-0','process@here','',NULL,1767312000000000,1767312000000000,1767312000000000,1,'7',1,'{"loss":[0.5,1,0.5,0.5]}','{}',6,0,'{}','{}');
INSERT INTO "trials" VALUES('abcd1234',1,'{"lr":2}','pending',0,'','','','','',NULL,1767312000000000,NULL,NULL,NULL,'',0,'{}','{}',3,0,'{}','{}');
CREATE INDEX trials_active ON trials (sweep_id, state, lease_expires_at) WHERE state IN ('running', 'stopping');
CREATE INDEX trials_changed ON trials (sweep_id, revision);
CREATE INDEX trials_held ON trials (agent_id) WHERE agent_id != '';
CREATE INDEX trials_pending ON trials (sweep_id, number) WHERE state = 'pending' AND is_removed = 0;
COMMIT;
