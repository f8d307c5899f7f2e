BEGIN TRANSACTION;
CREATE TABLE "django_maillog_attempt" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "tried_at" datetime NOT NULL, "outcome" varchar(12) NOT NULL, "error" text NOT NULL, "batch_id" bigint NOT NULL REFERENCES "django_maillog_batch" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "django_maillog_attempt" VALUES(1,'2026-11-20 12:00:00','sent','',1);
INSERT INTO "django_maillog_attempt" VALUES(2,'2026-11-20 12:00:00','failed','550 5.1.1 no such user',2);
INSERT INTO "django_maillog_attempt" VALUES(3,'2026-11-20 12:00:00','retry','451 4.3.0 try later',3);
INSERT INTO "django_maillog_attempt" VALUES(4,'2026-11-20 12:00:00','unknown','',6);
INSERT INTO "django_maillog_attempt" VALUES(5,'2026-11-20 12:00:00','unknown','',7);
CREATE TABLE "django_maillog_batch" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "buffer" varchar(200) NOT NULL, "status" varchar(10) NOT NULL, "open_for" varchar(200) NULL, "opened_at" datetime NOT NULL, "due_at" datetime NULL, "reason" varchar(10) NOT NULL, "sealed_at" datetime NULL, "first_at" datetime NULL, "last_at" datetime NULL, "record_count" bigint NOT NULL, "silenced_count" bigint NOT NULL, "lost_count" bigint NOT NULL, "group_count" integer NOT NULL, "level" integer NOT NULL, "recipients" text NOT NULL CHECK ((JSON_VALID("recipients") OR "recipients" IS NULL)), "sender" varchar(320) NOT NULL, "using" varchar(200) NOT NULL, "rules" text NOT NULL CHECK ((JSON_VALID("rules") OR "rules" IS NULL)), "headers" text NOT NULL CHECK ((JSON_VALID("headers") OR "headers" IS NULL)), "subject" varchar(200) NOT NULL, "message_id" varchar(255) NULL UNIQUE, "attempts" integer NOT NULL, "handed_over" bool NOT NULL, "next_attempt_at" datetime NULL, "give_up_at" datetime NULL, "claimed_until" datetime NULL, "claimed_by" varchar(32) NOT NULL, "sent_at" datetime NULL, "last_error" text NOT NULL, "text" text NOT NULL, "html" text NOT NULL, CONSTRAINT "maillog_batch_open_for" UNIQUE ("open_for"));
INSERT INTO "django_maillog_batch" VALUES(1,'sent','sent',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00','flush','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',3,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{"Date": "Fri, 20 Nov 2026 12:00:00 +0000", "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "OOF, AutoReply", "List-Id": "<sent.maillog.example.com>", "X-Maillog-Buffer": "sent", "X-Maillog-Reason": "flush", "X-Maillog-Level": "ERROR", "X-Maillog-Groups": "1", "X-Maillog-Count": "3", "Message-ID": "<179587804520.20024.17972350370660488874.maillog-1@example.com>", "References": "<maillog-675a0d38575994b1fdca673b@example.com>", "In-Reply-To": "<maillog-675a0d38575994b1fdca673b@example.com>", "X-Maillog-Batch": "1"}','[Django] ERROR ×3 KeyError: 0','<179587804520.20024.17972350370660488874.maillog-1@example.com>',1,1,NULL,'2026-11-24 12:00:00',NULL,'','2026-11-20 12:00:00','','3 errors in 1 group, 1 new, 12:00 (UTC)
Sent because everything that was pending was asked for.

NEW
===

3 × KeyError: 0
  at srv/shop/views.py:4 in pay
  ERROR in shop.views
  12:00:00
  Release: 1.4.2
  Host: web1

  1 × KeyError: 0
  1 × KeyError: 1
  1 × KeyError: 2

  1 × Payment of order 0 failed
  1 × Payment of order 1 failed
  1 × Payment of order 2 failed

Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0

Extra:
  order = {''number'': 0}

----
All records are attached: records.jsonl.gz, 3 lines.
Buffer sent. Times are in UTC. Python 3.13.0, Django 6.1.3.
','<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>3 errors in 1 group, 1 new, 12:00 (UTC)</title>
<style>
:root{color-scheme:light dark;supported-color-schemes:light dark}
@media (prefers-color-scheme:dark){
.page{background:#17191c!important;color:#e4e6e9!important}
.card{background:#202327!important;border-top-color:#3a3f45!important;border-right-color:#3a3f45!important;border-bottom-color:#3a3f45!important}
.bad{color:#ff8a80!important}
.warn{color:#ffb74d!important}
.calm{color:#8ab8ff!important}
.soft{color:#a3a9b0!important}
.code{background:#14161a!important;color:#e4e6e9!important;border-color:#3a3f45!important}
.lib{color:#8b929a!important}
.note{background:#4a3a10!important;color:#ffe9b0!important}
.link{color:#8ab8ff!important}
.line{border-color:#3a3f45!important}
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f1f3f4;color:#1f2328;-webkit-text-size-adjust:100%">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#f1f3f4" style="background:#f1f3f4;color:#1f2328"><tr><td align="center" style="padding:12px 8px">
<!--[if mso]><table role="presentation" width="760" cellpadding="0" cellspacing="0" border="0"><tr><td><![endif]-->
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:760px;table-layout:fixed;text-align:left;font-family:-apple-system,''Segoe UI'',Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:20px;overflow-wrap:anywhere;word-break:break-word">
<tr><td style="padding:4px 6px 8px">
<div style="font-size:18px;line-height:24px;font-weight:700">3 errors in 1 group, 1 new, 12:00 (UTC)</div>
<div class="soft" style="color:#57606a">Sent because everything that was pending was asked for.</div>
</td></tr>
<tr><td class="soft" style="padding:10px 6px 6px;font-size:12px;font-weight:700;letter-spacing:1px;text-transform:uppercase;color:#57606a">New</td></tr>
<tr><td class="card" bgcolor="#ffffff" style="padding:12px 14px;background:#fff;border:1px solid #d5d9de;border-left:5px solid #c5221f">
<div style="font-size:16px;line-height:22px;font-weight:700"><span class="bad" style="color:#c5221f">×3</span> KeyError: 0</div>
<div style="font-family:Consolas,Menlo,monospace;font-size:13px">srv/shop/views.py:4 in pay</div>
<div class="soft" style="color:#57606a"><b class="bad" style="color:#c5221f">ERROR</b> in shop.views · 12:00:00<br>Release: 1.4.2 · Host: web1</div>
<div style="margin-top:8px"><b>×1</b> KeyError: 0<br><b>×1</b> KeyError: 1<br><b>×1</b> KeyError: 2<br></div>
<div style="margin-top:8px"><b>×1</b> Payment of order 0 failed<br><b>×1</b> Payment of order 1 failed<br><b>×1</b> Payment of order 2 failed<br></div>
<div class="code" style="margin-top:8px;padding:8px 10px;background:#f6f8fa;border:1px solid #e3e6ea;font-family:Consolas,Menlo,monospace;font-size:12px;line-height:17px;white-space:pre-wrap">Traceback (most recent call last):
<b>  File &quot;/srv/shop/views.py&quot;, line 4, in pay
</b>KeyError: 0</div>
<div class="soft" style="margin-top:8px;color:#57606a">Extra</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="table-layout:fixed;font-family:Consolas,Menlo,monospace;font-size:12px;line-height:17px"><tr valign="top"><td width="35%" class="soft line" style="padding:2px 8px 2px 0;border-top:1px solid #e3e6ea;color:#57606a">order</td><td class="line" style="padding:2px 0;border-top:1px solid #e3e6ea;white-space:pre-wrap">{&#x27;number&#x27;: 0}</td></tr></table>
</td></tr>
<tr><td height="10" style="font-size:0;line-height:10px">&nbsp;</td></tr>

<tr><td class="soft" style="padding:10px 6px;font-size:12px;line-height:17px;color:#57606a">All records are attached: records.jsonl.gz, 3 lines.<br>Buffer sent. Times are in UTC. Python 3.13.0, Django 6.1.3.</td></tr>
</table>
<!--[if mso]></td></tr></table><![endif]-->
</td></tr></table>
</body>
</html>
');
INSERT INTO "django_maillog_batch" VALUES(2,'failed','failed',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00','flush','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',2,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{"Date": "Fri, 20 Nov 2026 12:00:00 +0000", "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "OOF, AutoReply", "List-Id": "<failed.maillog.example.com>", "X-Maillog-Buffer": "failed", "X-Maillog-Reason": "flush", "X-Maillog-Level": "ERROR", "X-Maillog-Groups": "1", "X-Maillog-Count": "2", "Message-ID": "<179587804537.20024.13716454627547305821.maillog-2@example.com>", "References": "<maillog-9f723e62eb77092e969bee8b@example.com>", "In-Reply-To": "<maillog-9f723e62eb77092e969bee8b@example.com>", "X-Maillog-Batch": "2"}','[Django] ERROR ×2 KeyError: 0','<179587804537.20024.13716454627547305821.maillog-2@example.com>',1,1,NULL,'2026-11-24 12:00:00',NULL,'',NULL,'550 5.1.1 no such user','2 errors in 1 group, 1 new, 12:00 (UTC)
Sent because everything that was pending was asked for.

NEW
===

2 × KeyError: 0
  at srv/shop/views.py:4 in pay
  ERROR in shop.views
  12:00:00
  Release: 1.4.2
  Host: web1

  1 × KeyError: 0
  1 × KeyError: 1

  1 × Payment of order 0 failed
  1 × Payment of order 1 failed

Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0

Extra:
  order = {''number'': 0}

----
All records are attached: records.jsonl.gz, 2 lines.
Buffer failed. Times are in UTC. Python 3.13.0, Django 6.1.3.
','<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>2 errors in 1 group, 1 new, 12:00 (UTC)</title>
<style>
:root{color-scheme:light dark;supported-color-schemes:light dark}
@media (prefers-color-scheme:dark){
.page{background:#17191c!important;color:#e4e6e9!important}
.card{background:#202327!important;border-top-color:#3a3f45!important;border-right-color:#3a3f45!important;border-bottom-color:#3a3f45!important}
.bad{color:#ff8a80!important}
.warn{color:#ffb74d!important}
.calm{color:#8ab8ff!important}
.soft{color:#a3a9b0!important}
.code{background:#14161a!important;color:#e4e6e9!important;border-color:#3a3f45!important}
.lib{color:#8b929a!important}
.note{background:#4a3a10!important;color:#ffe9b0!important}
.link{color:#8ab8ff!important}
.line{border-color:#3a3f45!important}
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f1f3f4;color:#1f2328;-webkit-text-size-adjust:100%">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#f1f3f4" style="background:#f1f3f4;color:#1f2328"><tr><td align="center" style="padding:12px 8px">
<!--[if mso]><table role="presentation" width="760" cellpadding="0" cellspacing="0" border="0"><tr><td><![endif]-->
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:760px;table-layout:fixed;text-align:left;font-family:-apple-system,''Segoe UI'',Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:20px;overflow-wrap:anywhere;word-break:break-word">
<tr><td style="padding:4px 6px 8px">
<div style="font-size:18px;line-height:24px;font-weight:700">2 errors in 1 group, 1 new, 12:00 (UTC)</div>
<div class="soft" style="color:#57606a">Sent because everything that was pending was asked for.</div>
</td></tr>
<tr><td class="soft" style="padding:10px 6px 6px;font-size:12px;font-weight:700;letter-spacing:1px;text-transform:uppercase;color:#57606a">New</td></tr>
<tr><td class="card" bgcolor="#ffffff" style="padding:12px 14px;background:#fff;border:1px solid #d5d9de;border-left:5px solid #c5221f">
<div style="font-size:16px;line-height:22px;font-weight:700"><span class="bad" style="color:#c5221f">×2</span> KeyError: 0</div>
<div style="font-family:Consolas,Menlo,monospace;font-size:13px">srv/shop/views.py:4 in pay</div>
<div class="soft" style="color:#57606a"><b class="bad" style="color:#c5221f">ERROR</b> in shop.views · 12:00:00<br>Release: 1.4.2 · Host: web1</div>
<div style="margin-top:8px"><b>×1</b> KeyError: 0<br><b>×1</b> KeyError: 1<br></div>
<div style="margin-top:8px"><b>×1</b> Payment of order 0 failed<br><b>×1</b> Payment of order 1 failed<br></div>
<div class="code" style="margin-top:8px;padding:8px 10px;background:#f6f8fa;border:1px solid #e3e6ea;font-family:Consolas,Menlo,monospace;font-size:12px;line-height:17px;white-space:pre-wrap">Traceback (most recent call last):
<b>  File &quot;/srv/shop/views.py&quot;, line 4, in pay
</b>KeyError: 0</div>
<div class="soft" style="margin-top:8px;color:#57606a">Extra</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="table-layout:fixed;font-family:Consolas,Menlo,monospace;font-size:12px;line-height:17px"><tr valign="top"><td width="35%" class="soft line" style="padding:2px 8px 2px 0;border-top:1px solid #e3e6ea;color:#57606a">order</td><td class="line" style="padding:2px 0;border-top:1px solid #e3e6ea;white-space:pre-wrap">{&#x27;number&#x27;: 0}</td></tr></table>
</td></tr>
<tr><td height="10" style="font-size:0;line-height:10px">&nbsp;</td></tr>

<tr><td class="soft" style="padding:10px 6px;font-size:12px;line-height:17px;color:#57606a">All records are attached: records.jsonl.gz, 2 lines.<br>Buffer failed. Times are in UTC. Python 3.13.0, Django 6.1.3.</td></tr>
</table>
<!--[if mso]></td></tr></table><![endif]-->
</td></tr></table>
</body>
</html>
');
INSERT INTO "django_maillog_batch" VALUES(3,'waiting','ready',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00','flush','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',2,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{"Date": "Fri, 20 Nov 2026 12:00:00 +0000", "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "OOF, AutoReply", "List-Id": "<waiting.maillog.example.com>", "X-Maillog-Buffer": "waiting", "X-Maillog-Reason": "flush", "X-Maillog-Level": "ERROR", "X-Maillog-Groups": "1", "X-Maillog-Count": "2", "Message-ID": "<179587804548.20024.16822729486241487424.maillog-3@example.com>", "References": "<maillog-e2b9e2ecaf31b448fc2d1318@example.com>", "In-Reply-To": "<maillog-e2b9e2ecaf31b448fc2d1318@example.com>", "X-Maillog-Batch": "3"}','[Django] ERROR ×2 KeyError: 0','<179587804548.20024.16822729486241487424.maillog-3@example.com>',1,1,'2026-11-20 12:01:05.003357','2026-11-24 12:00:00',NULL,'',NULL,'451 4.3.0 try later','*** 1 earlier mail of buffer failed with 2 records could not be delivered: 550 5.1.1 no such user Mend the cause, then retry or cancel in the admin, or: manage.py flush_maillogs --retry-failed ***

2 errors in 1 group, 1 new, 12:00 (UTC)
Sent because everything that was pending was asked for.

NEW
===

2 × KeyError: 0
  at srv/shop/views.py:4 in pay
  ERROR in shop.views
  12:00:00
  Release: 1.4.2
  Host: web1

  1 × KeyError: 0
  1 × KeyError: 1

  1 × Payment of order 0 failed
  1 × Payment of order 1 failed

Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0

Extra:
  order = {''number'': 0}

----
All records are attached: records.jsonl.gz, 2 lines.
Buffer waiting. Times are in UTC. Python 3.13.0, Django 6.1.3.
','<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>2 errors in 1 group, 1 new, 12:00 (UTC)</title>
<style>
:root{color-scheme:light dark;supported-color-schemes:light dark}
@media (prefers-color-scheme:dark){
.page{background:#17191c!important;color:#e4e6e9!important}
.card{background:#202327!important;border-top-color:#3a3f45!important;border-right-color:#3a3f45!important;border-bottom-color:#3a3f45!important}
.bad{color:#ff8a80!important}
.warn{color:#ffb74d!important}
.calm{color:#8ab8ff!important}
.soft{color:#a3a9b0!important}
.code{background:#14161a!important;color:#e4e6e9!important;border-color:#3a3f45!important}
.lib{color:#8b929a!important}
.note{background:#4a3a10!important;color:#ffe9b0!important}
.link{color:#8ab8ff!important}
.line{border-color:#3a3f45!important}
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f1f3f4;color:#1f2328;-webkit-text-size-adjust:100%">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#f1f3f4" style="background:#f1f3f4;color:#1f2328"><tr><td align="center" style="padding:12px 8px">
<!--[if mso]><table role="presentation" width="760" cellpadding="0" cellspacing="0" border="0"><tr><td><![endif]-->
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:760px;table-layout:fixed;text-align:left;font-family:-apple-system,''Segoe UI'',Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:20px;overflow-wrap:anywhere;word-break:break-word">
<tr><td class="note" style="padding:10px 14px;background:#fff1c9;color:#5c4300;font-weight:600">1 earlier mail of buffer failed with 2 records could not be delivered: 550 5.1.1 no such user Mend the cause, then retry or cancel in the admin, or: manage.py flush_maillogs --retry-failed</td></tr>
<tr><td height="10" style="font-size:0;line-height:10px">&nbsp;</td></tr>
<tr><td style="padding:4px 6px 8px">
<div style="font-size:18px;line-height:24px;font-weight:700">2 errors in 1 group, 1 new, 12:00 (UTC)</div>
<div class="soft" style="color:#57606a">Sent because everything that was pending was asked for.</div>
</td></tr>
<tr><td class="soft" style="padding:10px 6px 6px;font-size:12px;font-weight:700;letter-spacing:1px;text-transform:uppercase;color:#57606a">New</td></tr>
<tr><td class="card" bgcolor="#ffffff" style="padding:12px 14px;background:#fff;border:1px solid #d5d9de;border-left:5px solid #c5221f">
<div style="font-size:16px;line-height:22px;font-weight:700"><span class="bad" style="color:#c5221f">×2</span> KeyError: 0</div>
<div style="font-family:Consolas,Menlo,monospace;font-size:13px">srv/shop/views.py:4 in pay</div>
<div class="soft" style="color:#57606a"><b class="bad" style="color:#c5221f">ERROR</b> in shop.views · 12:00:00<br>Release: 1.4.2 · Host: web1</div>
<div style="margin-top:8px"><b>×1</b> KeyError: 0<br><b>×1</b> KeyError: 1<br></div>
<div style="margin-top:8px"><b>×1</b> Payment of order 0 failed<br><b>×1</b> Payment of order 1 failed<br></div>
<div class="code" style="margin-top:8px;padding:8px 10px;background:#f6f8fa;border:1px solid #e3e6ea;font-family:Consolas,Menlo,monospace;font-size:12px;line-height:17px;white-space:pre-wrap">Traceback (most recent call last):
<b>  File &quot;/srv/shop/views.py&quot;, line 4, in pay
</b>KeyError: 0</div>
<div class="soft" style="margin-top:8px;color:#57606a">Extra</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="table-layout:fixed;font-family:Consolas,Menlo,monospace;font-size:12px;line-height:17px"><tr valign="top"><td width="35%" class="soft line" style="padding:2px 8px 2px 0;border-top:1px solid #e3e6ea;color:#57606a">order</td><td class="line" style="padding:2px 0;border-top:1px solid #e3e6ea;white-space:pre-wrap">{&#x27;number&#x27;: 0}</td></tr></table>
</td></tr>
<tr><td height="10" style="font-size:0;line-height:10px">&nbsp;</td></tr>

<tr><td class="soft" style="padding:10px 6px;font-size:12px;line-height:17px;color:#57606a">All records are attached: records.jsonl.gz, 2 lines.<br>Buffer waiting. Times are in UTC. Python 3.13.0, Django 6.1.3.</td></tr>
</table>
<!--[if mso]></td></tr></table><![endif]-->
</td></tr></table>
</body>
</html>
');
INSERT INTO "django_maillog_batch" VALUES(4,'cancelled','cancelled',NULL,'2026-11-20 12:00:00',NULL,'new','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',2,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','','<179587804560.20024.11153765511459206470.maillog-4@example.com>',0,0,NULL,'2026-11-24 12:00:00',NULL,'',NULL,'','','');
INSERT INTO "django_maillog_batch" VALUES(5,'ready','ready',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00','new','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',2,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','','<179587804563.20024.12376201826839923923.maillog-5@example.com>',0,0,'2026-11-20 12:00:00','2026-11-24 12:00:00',NULL,'',NULL,'','','');
INSERT INTO "django_maillog_batch" VALUES(6,'cut','sending',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00','new','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',2,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','','<179587804565.20024.16513204259986548682.maillog-6@example.com>',1,0,'2026-11-20 12:00:58.199401','2026-11-24 12:00:00','2026-11-20 12:03:45','1875bc37c5d44598a70f00c5b1a25b5c',NULL,'','','');
INSERT INTO "django_maillog_batch" VALUES(7,'accepted','sending',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00','new','2026-11-20 12:00:00','2026-11-20 12:00:00','2026-11-20 12:00:00',2,0,0,1,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','','<179587804568.20024.13692476822957145926.maillog-7@example.com>',1,0,'2026-11-20 12:00:55.280093','2026-11-24 12:00:00','2026-11-20 12:03:45','4f271ef6e0274c31b64aa5b9fe7bb220',NULL,'','','');
INSERT INTO "django_maillog_batch" VALUES(8,'open','open','open','2026-11-20 12:00:00','2026-11-20 12:00:00','new',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00',35,0,0,2,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','',NULL,0,0,NULL,NULL,NULL,'',NULL,'','','');
INSERT INTO "django_maillog_batch" VALUES(9,'sent','open','sent','2026-11-20 12:00:00',NULL,'',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00',30,30,0,0,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','',NULL,0,0,NULL,NULL,NULL,'',NULL,'','','');
INSERT INTO "django_maillog_batch" VALUES(10,'spool','open','spool','2026-11-20 12:00:00','2026-11-20 12:00:00','new',NULL,'2026-11-20 12:00:00','2026-11-20 12:00:00',6,0,0,2,40,'["ada@example.com"]','errors@example.com','','{"capacity": 10000, "flush_level": 50, "group_wait": 0, "group_interval": 300, "repeat_interval": 14400, "resolve_timeout": 21600, "burst": 5}','{}','',NULL,0,0,NULL,NULL,NULL,'',NULL,'','','');
CREATE TABLE "django_maillog_group" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "buffer" varchar(200) NOT NULL, "fingerprint" varchar(64) NOT NULL, "cause" varchar(64) NOT NULL, "site" varchar(64) NOT NULL, "kind" smallint NOT NULL, "title" varchar(255) NOT NULL, "level" integer NOT NULL, "logger" varchar(255) NOT NULL, "first_seen_at" datetime NOT NULL, "last_seen_at" datetime NOT NULL, "first_release" varchar(200) NOT NULL, "last_release" varchar(200) NOT NULL, "count" bigint NOT NULL, "episode_at" datetime NOT NULL, "episode_count" bigint NOT NULL, "notified_at" datetime NULL, "silenced_at" datetime NULL, "silenced_until" datetime NULL, "silenced_by" varchar(150) NOT NULL, "silence_note" varchar(255) NOT NULL, "resolved_at" datetime NULL, "batch_id" bigint NULL, "episode_batch_id" bigint NULL, "sample_id" bigint NULL REFERENCES "django_maillog_record" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "maillog_group_fingerprint" UNIQUE ("buffer", "fingerprint"));
INSERT INTO "django_maillog_group" VALUES(1,'sent','ml2:44169012d64762ef25725e6d69ff1055','ml2:a4cc61c20bc21db258a12f2f60766ae0','ml2:12493c66ab865b22dae7a9a66552ad91',0,'KeyError: 0',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',33,'2026-11-20 12:00:00',33,'2026-11-20 12:00:00','2026-11-20 12:00:00',NULL,'ada','known',NULL,1,1,1);
INSERT INTO "django_maillog_group" VALUES(2,'failed','ml2:44169012d64762ef25725e6d69ff1055','ml2:a4cc61c20bc21db258a12f2f60766ae0','ml2:12493c66ab865b22dae7a9a66552ad91',0,'KeyError: 0',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,NULL,NULL,NULL,'','',NULL,2,2,4);
INSERT INTO "django_maillog_group" VALUES(3,'waiting','ml2:44169012d64762ef25725e6d69ff1055','ml2:a4cc61c20bc21db258a12f2f60766ae0','ml2:12493c66ab865b22dae7a9a66552ad91',0,'KeyError: 0',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,NULL,NULL,NULL,'','','2026-11-20 12:00:00',3,3,6);
INSERT INTO "django_maillog_group" VALUES(4,'cancelled','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db',1,'Stock of article 0 is low',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,'2026-11-20 12:00:00',NULL,NULL,'','',NULL,4,4,8);
INSERT INTO "django_maillog_group" VALUES(5,'ready','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db',1,'Stock of article 0 is low',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,NULL,NULL,NULL,'','',NULL,5,5,10);
INSERT INTO "django_maillog_group" VALUES(6,'cut','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db',1,'Stock of article 0 is low',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,NULL,NULL,NULL,'','',NULL,6,6,12);
INSERT INTO "django_maillog_group" VALUES(7,'accepted','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db',1,'Stock of article 0 is low',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,NULL,NULL,NULL,'','',NULL,7,7,14);
INSERT INTO "django_maillog_group" VALUES(8,'open','ml2:44169012d64762ef25725e6d69ff1055','ml2:a4cc61c20bc21db258a12f2f60766ae0','ml2:12493c66ab865b22dae7a9a66552ad91',0,'KeyError: 0',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',30,'2026-11-20 12:00:00',30,NULL,NULL,NULL,'','',NULL,8,8,16);
INSERT INTO "django_maillog_group" VALUES(9,'open','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db',1,'Stock of article 0 is low',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',5,'2026-11-20 12:00:00',5,NULL,NULL,NULL,'','',NULL,8,8,20);
INSERT INTO "django_maillog_group" VALUES(10,'spool','ml2:44169012d64762ef25725e6d69ff1055','ml2:a4cc61c20bc21db258a12f2f60766ae0','ml2:12493c66ab865b22dae7a9a66552ad91',0,'KeyError: 0',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',2,'2026-11-20 12:00:00',2,NULL,NULL,NULL,'','',NULL,10,10,28);
INSERT INTO "django_maillog_group" VALUES(11,'spool','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db','ml2:b37dc7d2df5dd242797b84a4a63b77db',1,'Stock of article 0 is low',40,'shop.views','2026-11-20 12:00:00','2026-11-20 12:00:00','1.4.2','1.4.2',4,'2026-11-20 12:00:00',4,NULL,NULL,NULL,'','',NULL,10,10,30);
CREATE TABLE "django_maillog_host" ("name" varchar(255) NOT NULL PRIMARY KEY, "imported_at" datetime NOT NULL);
INSERT INTO "django_maillog_host" VALUES('web1','2026-11-20 12:00:00');
CREATE TABLE "django_maillog_record" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "folded" bool NOT NULL, "full" bool NOT NULL, "silenced" bool NOT NULL, "first_at" datetime NOT NULL, "last_at" datetime NOT NULL, "count" bigint NOT NULL, "level" integer NOT NULL, "logger" varchar(255) NOT NULL, "host" varchar(255) NOT NULL, "process" bigint NOT NULL, "where" varchar(500) NOT NULL, "message" text NOT NULL, "messages" text NOT NULL CHECK ((JSON_VALID("messages") OR "messages" IS NULL)), "titles" text NOT NULL CHECK ((JSON_VALID("titles") OR "titles" IS NULL)), "traceback" text NOT NULL, "request" text NULL CHECK ((JSON_VALID("request") OR "request" IS NULL)), "extra" text NULL CHECK ((JSON_VALID("extra") OR "extra" IS NULL)), "details" text NULL CHECK ((JSON_VALID("details") OR "details" IS NULL)), "html" text NOT NULL, "batch_id" bigint NOT NULL, "group_id" bigint NOT NULL REFERENCES "django_maillog_group" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "django_maillog_record" VALUES(1,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:6 in pay','Payment of order 0 failed','{}','{}','Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0
',NULL,'{"order": {"number": 0}}','{"title": "KeyError: 0", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 6, "function": "pay", "template": "Payment of order %s failed", "thread": "MainThread", "process_name": "MainProcess", "exception": {"type": "KeyError", "value": "0"}}','',1,1);
INSERT INTO "django_maillog_record" VALUES(2,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 1 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 1", "release": "1.4.2"}','',1,1);
INSERT INTO "django_maillog_record" VALUES(3,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 2 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 2", "release": "1.4.2"}','',1,1);
INSERT INTO "django_maillog_record" VALUES(4,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:6 in pay','Payment of order 0 failed','{}','{}','Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0
',NULL,'{"order": {"number": 0}}','{"title": "KeyError: 0", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 6, "function": "pay", "template": "Payment of order %s failed", "thread": "MainThread", "process_name": "MainProcess", "exception": {"type": "KeyError", "value": "0"}}','',2,2);
INSERT INTO "django_maillog_record" VALUES(5,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 1 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 1", "release": "1.4.2"}','',2,2);
INSERT INTO "django_maillog_record" VALUES(6,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:6 in pay','Payment of order 0 failed','{}','{}','Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0
',NULL,'{"order": {"number": 0}}','{"title": "KeyError: 0", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 6, "function": "pay", "template": "Payment of order %s failed", "thread": "MainThread", "process_name": "MainProcess", "exception": {"type": "KeyError", "value": "0"}}','',3,3);
INSERT INTO "django_maillog_record" VALUES(7,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 1 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 1", "release": "1.4.2"}','',3,3);
INSERT INTO "django_maillog_record" VALUES(8,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:10 in warn','Stock of article 0 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 0 is low", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 10, "function": "warn", "template": "Stock of article %s is low", "thread": "MainThread", "process_name": "MainProcess"}','',4,4);
INSERT INTO "django_maillog_record" VALUES(9,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 1 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 1 is low", "release": "1.4.2"}','',4,4);
INSERT INTO "django_maillog_record" VALUES(10,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:10 in warn','Stock of article 0 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 0 is low", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 10, "function": "warn", "template": "Stock of article %s is low", "thread": "MainThread", "process_name": "MainProcess"}','',5,5);
INSERT INTO "django_maillog_record" VALUES(11,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 1 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 1 is low", "release": "1.4.2"}','',5,5);
INSERT INTO "django_maillog_record" VALUES(12,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:10 in warn','Stock of article 0 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 0 is low", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 10, "function": "warn", "template": "Stock of article %s is low", "thread": "MainThread", "process_name": "MainProcess"}','',6,6);
INSERT INTO "django_maillog_record" VALUES(13,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 1 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 1 is low", "release": "1.4.2"}','',6,6);
INSERT INTO "django_maillog_record" VALUES(14,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:10 in warn','Stock of article 0 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 0 is low", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 10, "function": "warn", "template": "Stock of article %s is low", "thread": "MainThread", "process_name": "MainProcess"}','',7,7);
INSERT INTO "django_maillog_record" VALUES(15,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 1 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 1 is low", "release": "1.4.2"}','',7,7);
INSERT INTO "django_maillog_record" VALUES(16,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:6 in pay','Payment of order 0 failed','{}','{}','Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0
',NULL,'{"order": {"number": 0}}','{"title": "KeyError: 0", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 6, "function": "pay", "template": "Payment of order %s failed", "thread": "MainThread", "process_name": "MainProcess", "exception": {"type": "KeyError", "value": "0"}}','',8,8);
INSERT INTO "django_maillog_record" VALUES(17,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 1 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 1", "release": "1.4.2"}','',8,8);
INSERT INTO "django_maillog_record" VALUES(18,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 2 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 2", "release": "1.4.2"}','',8,8);
INSERT INTO "django_maillog_record" VALUES(19,1,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',27,40,'shop.views','web1',20024,'','Payment of order 3 failed','{"Payment of order 3 failed": 1, "Payment of order 4 failed": 1, "Payment of order 5 failed": 1, "Payment of order 6 failed": 1, "Payment of order 7 failed": 1, "Payment of order 8 failed": 1, "Payment of order 9 failed": 1, "Payment of order 10 failed": 1, "": 19}','{"KeyError: 3": 1, "KeyError: 4": 1, "KeyError: 5": 1, "KeyError: 6": 1, "KeyError: 7": 1, "KeyError: 8": 1, "KeyError: 9": 1, "KeyError: 10": 1, "": 19}','',NULL,NULL,'{"title": "KeyError: 3", "release": "1.4.2"}','',8,8);
INSERT INTO "django_maillog_record" VALUES(20,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:10 in warn','Stock of article 0 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 0 is low", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 10, "function": "warn", "template": "Stock of article %s is low", "thread": "MainThread", "process_name": "MainProcess"}','',8,9);
INSERT INTO "django_maillog_record" VALUES(21,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 1 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 1 is low", "release": "1.4.2"}','',8,9);
INSERT INTO "django_maillog_record" VALUES(22,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 2 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 2 is low", "release": "1.4.2"}','',8,9);
INSERT INTO "django_maillog_record" VALUES(23,1,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',2,40,'shop.views','web1',20024,'','Stock of article 3 is low','{"Stock of article 3 is low": 1, "Stock of article 4 is low": 1}','{}','',NULL,NULL,'{"title": "Stock of article 3 is low", "release": "1.4.2"}','',8,9);
INSERT INTO "django_maillog_record" VALUES(24,0,0,1,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 0 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 0", "release": "1.4.2"}','',9,1);
INSERT INTO "django_maillog_record" VALUES(25,0,0,1,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 1 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 1", "release": "1.4.2"}','',9,1);
INSERT INTO "django_maillog_record" VALUES(26,0,0,1,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 2 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 2", "release": "1.4.2"}','',9,1);
INSERT INTO "django_maillog_record" VALUES(27,1,0,1,'2026-11-20 12:00:00','2026-11-20 12:00:00',27,40,'shop.views','web1',20024,'','Payment of order 3 failed','{"Payment of order 3 failed": 1, "Payment of order 4 failed": 1, "Payment of order 5 failed": 1, "Payment of order 6 failed": 1, "Payment of order 7 failed": 1, "Payment of order 8 failed": 1, "Payment of order 9 failed": 1, "Payment of order 10 failed": 1, "": 19}','{"KeyError: 3": 1, "KeyError: 4": 1, "KeyError: 5": 1, "KeyError: 6": 1, "KeyError: 7": 1, "KeyError: 8": 1, "KeyError: 9": 1, "KeyError: 10": 1, "": 19}','',NULL,NULL,'{"title": "KeyError: 3", "release": "1.4.2"}','',9,1);
INSERT INTO "django_maillog_record" VALUES(28,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:6 in pay','Payment of order 0 failed','{}','{}','Traceback (most recent call last):
  File "/srv/shop/views.py", line 4, in pay
KeyError: 0
',NULL,'{"order": {"number": 0}}','{"title": "KeyError: 0", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 6, "function": "pay", "template": "Payment of order %s failed", "thread": "MainThread", "process_name": "MainProcess", "exception": {"type": "KeyError", "value": "0"}}','',10,10);
INSERT INTO "django_maillog_record" VALUES(29,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Payment of order 1 failed','{}','{}','',NULL,NULL,'{"title": "KeyError: 1", "release": "1.4.2"}','',10,10);
INSERT INTO "django_maillog_record" VALUES(30,0,1,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'/srv/shop/views.py:10 in warn','Stock of article 0 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 0 is low", "release": "1.4.2", "pathname": "/srv/shop/views.py", "lineno": 10, "function": "warn", "template": "Stock of article %s is low", "thread": "MainThread", "process_name": "MainProcess"}','',10,11);
INSERT INTO "django_maillog_record" VALUES(31,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 1 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 1 is low", "release": "1.4.2"}','',10,11);
INSERT INTO "django_maillog_record" VALUES(32,0,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 2 is low','{}','{}','',NULL,NULL,'{"title": "Stock of article 2 is low", "release": "1.4.2"}','',10,11);
INSERT INTO "django_maillog_record" VALUES(33,1,0,0,'2026-11-20 12:00:00','2026-11-20 12:00:00',1,40,'shop.views','web1',20024,'','Stock of article 3 is low','{"Stock of article 3 is low": 1}','{}','',NULL,NULL,'{"title": "Stock of article 3 is low", "release": "1.4.2"}','',10,11);
CREATE TABLE "django_maillog_segment" ("id" varchar(32) NOT NULL PRIMARY KEY, "host" varchar(255) NOT NULL, "process" bigint NOT NULL, "offset" bigint NOT NULL, "seen_at" datetime NOT NULL, "finished_at" datetime NULL);
INSERT INTO "django_maillog_segment" VALUES('705f6653a9294a8bb779fdd466053986','web1',20024,28392,'2026-11-20 12:00:00',NULL);
INSERT INTO "django_maillog_segment" VALUES('6359005f9a5a47ff85e707d75c3fb809','web1',20024,1417,'2026-11-20 12:00:00',NULL);
CREATE TABLE "django_maillog_silence" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "buffer" varchar(200) NOT NULL, "match" varchar(200) NOT NULL, "starts_at" datetime NOT NULL, "ends_at" datetime NOT NULL, "note" varchar(255) NOT NULL);
INSERT INTO "django_maillog_silence" VALUES(1,'','deploy','2026-11-20 12:00:00','2026-11-20 13:00:00','deploy of 1.4.2');
CREATE TABLE "django_maillog_tally" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "hour_at" datetime NOT NULL, "level" integer NOT NULL, "count" bigint NOT NULL, "group_id" bigint NOT NULL REFERENCES "django_maillog_group" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "maillog_tally_group_hour" UNIQUE ("group_id", "hour_at", "level"));
INSERT INTO "django_maillog_tally" VALUES(1,'2026-11-20 12:00:00',40,33,1);
INSERT INTO "django_maillog_tally" VALUES(2,'2026-11-20 12:00:00',40,2,2);
INSERT INTO "django_maillog_tally" VALUES(3,'2026-11-20 12:00:00',40,2,3);
INSERT INTO "django_maillog_tally" VALUES(4,'2026-11-20 12:00:00',40,2,4);
INSERT INTO "django_maillog_tally" VALUES(5,'2026-11-20 12:00:00',40,2,5);
INSERT INTO "django_maillog_tally" VALUES(6,'2026-11-20 12:00:00',40,2,6);
INSERT INTO "django_maillog_tally" VALUES(7,'2026-11-20 12:00:00',40,2,7);
INSERT INTO "django_maillog_tally" VALUES(8,'2026-11-20 12:00:00',40,30,8);
INSERT INTO "django_maillog_tally" VALUES(9,'2026-11-20 12:00:00',40,5,9);
INSERT INTO "django_maillog_tally" VALUES(11,'2026-11-20 12:00:00',40,2,10);
INSERT INTO "django_maillog_tally" VALUES(12,'2026-11-20 12:00:00',40,4,11);
CREATE TABLE "django_migrations" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app" varchar(255) NOT NULL, "name" varchar(255) NOT NULL, "applied" datetime NOT NULL);
INSERT INTO "django_migrations" VALUES(18,'django_maillog','0001_initial','2026-11-28 15:00:45.076408');
CREATE INDEX "maillog_record_batch" ON "django_maillog_record" ("batch_id", "group_id", "process");
CREATE INDEX "maillog_record_group" ON "django_maillog_record" ("group_id", "last_at");
CREATE INDEX "maillog_record_last" ON "django_maillog_record" ("last_at");
CREATE INDEX "maillog_record_level" ON "django_maillog_record" ("level", "last_at");
CREATE INDEX "maillog_silence_ends" ON "django_maillog_silence" ("ends_at");
CREATE INDEX "maillog_batch_status" ON "django_maillog_batch" ("status", "next_attempt_at");
CREATE INDEX "maillog_batch_finished" ON "django_maillog_batch" ("status", "opened_at");
CREATE INDEX "maillog_batch_buffer" ON "django_maillog_batch" ("buffer", "sealed_at");
CREATE INDEX "maillog_batch_opened" ON "django_maillog_batch" ("opened_at");
CREATE INDEX "maillog_batch_sent" ON "django_maillog_batch" ("status", "sent_at");
CREATE INDEX "django_maillog_attempt_batch_id_ba8c0693" ON "django_maillog_attempt" ("batch_id");
CREATE INDEX "django_maillog_group_batch_id_b8f7a1c9" ON "django_maillog_group" ("batch_id");
CREATE INDEX "django_maillog_group_episode_batch_id_b35928b6" ON "django_maillog_group" ("episode_batch_id");
CREATE INDEX "django_maillog_group_sample_id_208a42a6" ON "django_maillog_group" ("sample_id");
CREATE INDEX "maillog_group_cause" ON "django_maillog_group" ("buffer", "cause", "last_seen_at");
CREATE INDEX "maillog_group_site" ON "django_maillog_group" ("buffer", "site", "first_seen_at");
CREATE INDEX "maillog_group_last_seen" ON "django_maillog_group" ("last_seen_at");
CREATE INDEX "maillog_group_first_seen" ON "django_maillog_group" ("first_seen_at");
CREATE INDEX "maillog_tally_hour" ON "django_maillog_tally" ("hour_at");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('django_migrations',19);
INSERT INTO "sqlite_sequence" VALUES('django_maillog_group',11);
INSERT INTO "sqlite_sequence" VALUES('django_maillog_tally',12);
INSERT INTO "sqlite_sequence" VALUES('django_maillog_silence',1);
INSERT INTO "sqlite_sequence" VALUES('django_maillog_batch',10);
INSERT INTO "sqlite_sequence" VALUES('django_maillog_record',33);
INSERT INTO "sqlite_sequence" VALUES('django_maillog_attempt',5);
COMMIT;
