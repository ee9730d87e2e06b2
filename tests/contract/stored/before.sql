BEGIN TRANSACTION;
CREATE TABLE campaign (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, summary TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "campaign" VALUES('7',1,'{"campaign_summary":{"asked_ms":1718193668000,"published":{"7":[0,9,null,null,null,null,null]}}}');
CREATE TABLE contact (
    id TEXT PRIMARY KEY,
    modified_date TEXT NOT NULL,
    registered_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    queued_until_ms INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    synced_ms INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    times_gone INTEGER NOT NULL DEFAULT 0,
    marks TEXT NOT NULL DEFAULT '{}',
    remembered BLOB NOT NULL DEFAULT x'',
    unreadable BLOB NOT NULL DEFAULT x'',
    progress TEXT,
    summaries TEXT NOT NULL DEFAULT '{}',
    resync_ms INTEGER
) WITHOUT ROWID;
INSERT INTO "contact" VALUES('1','2024-06-01',1718193600250,1718194502500,0,1,1718193600750,0,0,'{"sends":[1718064000000,1718020800001],"opens":[1718107200000,1718020800001],"clicks":[1718150400000,1718020800001],"forwards":[null,1718020800001],"bounces":[null,1718020800001],"unsubscribes":[null,1718020800001]}',X'019009BE880065E53AFE586207040190072B5A00DFEC5045AA9F66D2019004982C008F45D1C90E1007A0',X'',NULL,'{"summary":{"asked_ms":1718193602500,"published":{"":[0,4,4,null,null,null,null]}}}',NULL);
INSERT INTO "contact" VALUES('2','2024-06-01',1718193600250,1718193600250,1718195400750,1,NULL,0,0,'{}',X'',X'','{"started_ms":1718193602500,"fingerprint":"default all None","report":"all","next":"6","candidates":"AZAJvogAx315at9LvBMBkAcrWgBM7W8pC5LOhAGQBJgsALYgChECpogVAZACBP4AaTkHEeTUMzEBj/9x0ADZVv6Xx7bfIwGP/N6iAIgbi9RvpaEb","unreadable":"","through":{"clicks":1718150400000,"opens":1718107200000,"sends":1718064000000},"forgotten_ms":null,"restarts":0,"pages":3}','{}',NULL);
INSERT INTO "contact" VALUES('3','2024-06-01',1718193600500,1718194504000,1718195400750,1,NULL,1,0,'{}',X'',X'','{"started_ms":1718193603250,"fingerprint":"default all None","report":"all","next":"4","candidates":"AZAJvogA+xNDNMqYxcoBkAcrWgBTgBidz38mEgGQBJgsADnOQKUl5M4fAZACBP4AZF8UwHnA/fA=","unreadable":"","through":{"clicks":1718150400000,"opens":1718107200000,"sends":1718064000000},"forgotten_ms":null,"restarts":0,"pages":2}','{}',NULL);
INSERT INTO "contact" VALUES('4','2024-06-01',1718193600500,1718798466000,0,2,1718193665750,0,1,'{"sends":[1718064000000,1718020800001],"opens":[1718107200000,1718020800001],"clicks":[1718150400000,1718020800001],"forwards":[null,1718020800001],"bounces":[null,1718020800001],"unsubscribes":[null,1718020800001]}',X'019009BE8800338B8F9566FB424D0190072B5A002FBE5F244ED77F02019004982C008FD1C384843F043F',X'',NULL,'{"summary":{"asked_ms":1718193605750,"published":{}}}',NULL);
INSERT INTO "contact" VALUES('5','2024-06-01',1718193600750,1718193600750,1718195400750,0,NULL,0,0,'{}',X'',X'',NULL,'{}',NULL);
INSERT INTO "contact" VALUES('6','2024-06-01',1718193600750,1718193667750,0,2,1718193666000,0,0,'{"sends":[1718064000000,1718020800001],"opens":[1718107200000,1718020800001],"clicks":[1718150400000,1718020800001],"forwards":[null,1718020800001],"bounces":[null,1718020800001],"unsubscribes":[null,1718020800001]}',X'019009BE8800455819288F3879080190072B5A00154DF86C36A0CCA1019004982C0050F539A46C773740',X'',NULL,'{"summary":{"asked_ms":1718193667750,"published":{}}}',1718020800000);
CREATE TABLE published (
    day INTEGER NOT NULL,
    detail_type TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (day, detail_type)
) WITHOUT ROWID;
INSERT INTO "published" VALUES(19886,'Campaign Activity Summarized',1);
INSERT INTO "published" VALUES(19886,'Contact Activity Summarized',1);
INSERT INTO "published" VALUES(19886,'Email Link Clicked',16);
INSERT INTO "published" VALUES(19886,'Email Opened',15);
INSERT INTO "published" VALUES(19886,'Email Sent',15);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "state" VALUES('lease','{"holder": "0bbd9bd5d82d41c0a43757b52c4f4544", "until_ms": 0}');
INSERT INTO "state" VALUES('listing','{"next": null, "started_ms": null, "since_ms": null, "mark_ms": 1718107200000, "full_ms": 1718193600000, "contacts": 6}');
INSERT INTO "state" VALUES('pauses','{"quota": 1718197268000}');
CREATE INDEX due ON contact (due_ms);
COMMIT;
